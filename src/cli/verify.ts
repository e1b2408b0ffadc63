import type { Command } from "commander";
import { createProgressBar } from "../client/progress-bar.ts";
import { command, Failed, withClient } from "./command.ts";
import { formatTotals } from "./format.ts";
import { parseReference } from "./reference.ts";

export function verifyCommand(signal: AbortSignal): Command {
  return command("verify", "read every byte of a run or a tag in the store, and check it")
    .argument("<REF>", "RUN, RUN@COMMIT or :TAG")
    .action(
      withClient<object, [string]>(signal, async ({ client, flags, output }, reference) => {
        const bar = createProgressBar("verifying", flags.quiet);
        try {
          const onProgress = bar && ((progress: Parameters<typeof bar.update>[0]) => bar.update(progress));
          const result = await client.verify({ ...parseReference(reference), signal, onProgress });
          bar?.stop();
          const { files, bytes, damaged } = result;
          for (const { path, problem } of damaged) output.error(`${path}: ${problem}`);
          output.result({ files, bytes, damaged }, damaged.length === 0 ? `verified ${formatTotals(result)}: all is well` : undefined);
          if (damaged.length > 0) throw new Failed();
        } finally {
          bar?.stop();
        }
      }),
    );
}
