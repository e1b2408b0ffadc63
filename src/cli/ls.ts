import type { Command } from "commander";
import type { Entry } from "../client/results.ts";
import { formatCrc32c } from "../lib/crc32c.ts";
import { formatBytes } from "../lib/quantities.ts";
import { command, withClient } from "./command.ts";
import { formatMode, formatNanoseconds, formatTable, formatTime, formatTotals, millisecondsOf, printable } from "./format.ts";
import { parseReference } from "./reference.ts";

interface Flags {
  readonly recursive?: boolean;
}

export function lsCommand(signal: AbortSignal): Command {
  return command("ls", "list the files of a run or a tag")
    .argument("<REF>", "RUN, RUN@COMMIT or :TAG")
    .argument("[PREFIX]", "a folder, or one file (default: everything)")
    .option("-r, --recursive", "all that is in it, at any depth (default: one level)")
    .action(
      withClient<Flags, [string, string | undefined]>(signal, async ({ client, flags, output }, reference, prefix) => {
        const { recursive } = flags;
        const { entries, files, bytes } = await client.list({ ...parseReference(reference), prefix, recursive, signal });
        const table = formatTable(["MODE", ">SIZE", "MODIFIED", "PATH"], entries.map(toRow));
        output.result({ entries: entries.map(toJson), files, bytes }, entries.length === 0 ? undefined : table);
        if (!flags.json) output.note(formatTotals({ files, bytes }));
      }),
    );
}

function toRow({ path, type, size, mode, mtimeNs, linkTarget }: Entry): string[] {
  const suffix = type === "folder" ? "/" : type === "link" ? ` -> ${linkTarget}` : "";
  return [
    mode === null ? "" : formatMode(mode),
    size === null ? "" : formatBytes(size),
    mtimeNs === null ? "" : formatTime(new Date(millisecondsOf(mtimeNs))),
    printable(`${path}${suffix}`),
  ];
}

function toJson({ path, type, size, mode, mtimeNs, crc32c, linkTarget }: Entry): object {
  return {
    path,
    type,
    size,
    mode: mode === null ? null : formatMode(mode),
    mtime: mtimeNs === null ? null : formatNanoseconds(mtimeNs),
    crc32c: crc32c === null ? null : formatCrc32c(crc32c),
    target: linkTarget,
  };
}
