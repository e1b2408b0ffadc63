import type { Command } from "commander";
import { createProgressBar } from "../client/progress-bar.ts";
import { command, withClient } from "./command.ts";
import { formatTotals } from "./format.ts";
import { parseReference } from "./reference.ts";

export function downloadCommand(signal: AbortSignal): Command {
  return command("download", "download the files of a run or a tag; run again, it goes on where it was cut off")
    .argument("<REF>", "RUN, RUN@COMMIT or :TAG")
    .argument("[ARTIFACT_PATH]", "a folder, whose contents are downloaded, or a file (default: everything)")
    .argument("[LOCAL_PATH]", "where it goes (default: the current folder)")
    .option("--timeout <duration>", "how long to try again without progress when the connection is lost (default: 30s)")
    .action(
      withClient<object, [string, string | undefined, string | undefined]>(
        signal,
        async ({ client, flags, output }, reference, artifactPath, localPath) => {
          const bar = createProgressBar("downloading", flags.quiet);
          try {
            const result = await client.download({
              ...parseReference(reference),
              artifactPath,
              localPath,
              signal,
              onProgress: bar && ((progress) => bar.update(progress)),
            });
            bar?.stop();
            const { run, commit, files, bytes } = result;
            output.result(
              { run, commit, files, bytes },
              `downloaded ${formatTotals(result)} of run ${run}, commit ${commit}, to ${localPath || "."}`,
            );
          } finally {
            bar?.stop();
          }
        },
      ),
    );
}
