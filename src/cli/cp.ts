import type { Command } from "commander";
import { command, withClient } from "./command.ts";
import { formatTotals } from "./format.ts";
import { parseReference } from "./reference.ts";

export function cpCommand(signal: AbortSignal): Command {
  return command("cp", "add files of a run or a tag to a run, in the store, as one commit")
    .argument("<REF>", "RUN, RUN@COMMIT or :TAG to copy from")
    .argument("<PATH>", "a folder, whose contents are copied, or a file; . is everything")
    .argument("<RUN>", "the run to add to")
    .argument("[TO_PATH]", "where they go in it; . is the root (default: the same path)")
    .action(
      withClient<object, [string, string, string, string | undefined]>(
        signal,
        async ({ client, output }, reference, artifactPath, toRun, toPath) => {
          const copied = await client.copy({ ...parseReference(reference), artifactPath, toRun, toPath });
          const { run, commit, files, bytes } = copied;
          output.result({ run, commit, files, bytes }, `copied ${formatTotals(copied)} to run ${run}, commit ${commit}`);
        },
      ),
    );
}
