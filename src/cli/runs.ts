import type { Command } from "commander";
import { formatBytes } from "../lib/quantities.ts";
import { command, withClient } from "./command.ts";
import { count, formatTable, formatTime } from "./format.ts";

interface RemoveFlags {
  readonly force?: boolean;
}

export function runsCommand(signal: AbortSignal): Command {
  return command("runs", "list and delete runs")
    .addCommand(
      command("ls", "list the runs of the project").action(
        withClient(signal, async ({ client, output }) => {
          const runs = await client.runs({ signal });
          const rows = runs.map((run) => [
            run.name,
            String(run.commits),
            String(run.files),
            formatBytes(run.bytes),
            formatTime(run.created),
            run.tags.join(" "),
          ]);
          output.result(
            { runs: runs.map(({ name, commits, files, bytes, created, tags }) => ({ name, commits, files, bytes, created, tags })) },
            runs.length === 0 ? undefined : formatTable(["NAME", ">COMMITS", ">FILES", ">SIZE", "CREATED", "TAGS"], rows),
          );
          if (runs.length === 0) output.note("no runs yet");
        }),
      ),
    )
    .addCommand(
      command("rm", "delete a run with all its commits")
        .argument("<RUN>", "its name")
        .option("--force", "delete its tags with it")
        .action(
          withClient<RemoveFlags, [string]>(signal, async ({ client, flags, output }, run) => {
            const tags = await client.deleteRun(run, { force: flags.force });
            const also = tags.length === 0 ? "" : ` and its ${count(tags.length, "tag")} ${tags.join(", ")}`;
            output.result({ run, tags }, `deleted run ${run}${also}`);
          }),
        ),
    );
}
