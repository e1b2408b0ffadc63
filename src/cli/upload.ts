import { type Command, Option } from "commander";
import { ArtifactsUploadError } from "../client/errors.ts";
import { createProgressBar } from "../client/progress-bar.ts";
import { command, withClient } from "./command.ts";
import { count, formatTotals } from "./format.ts";

interface Flags {
  readonly run?: string;
  readonly tag?: string;
  readonly symlinks?: "follow" | "preserve";
  readonly resume?: string;
}

export function uploadCommand(signal: AbortSignal): Command {
  return command("upload", "upload a folder's contents, or a file, to a run: all of it is there when this ends, or nothing")
    .argument("<LOCAL_PATH>", "a folder or a file")
    .argument("[ARTIFACT_PATH]", "where it goes in the run; . is the root (default: the same path)")
    .option("--run <run>", "the run to add to (default: $DSTACK_RUN_NAME, else the server's current run)")
    .option("--tag <tag>", "make a new run, and this tag for it")
    .addOption(
      new Option("--symlinks <how>", "follow symbolic links, or preserve them as links (default: follow)").choices(["follow", "preserve"]),
    )
    .option("--resume <upload>", "go on with an upload that was cut off, by its id: see `uploads ls`")
    .option("--timeout <duration>", "how long to try again without progress when the connection is lost (default: 30s)")
    .action(
      withClient<Flags, [string, string | undefined]>(signal, async ({ client, flags, output }, localPath, artifactPath) => {
        const bar = createProgressBar("uploading", flags.quiet);
        try {
          const result = await client.upload({
            localPath,
            artifactPath,
            run: flags.run,
            tag: flags.tag,
            symlinks: flags.symlinks,
            resume: flags.resume,
            signal,
            onProgress: bar && ((progress) => bar.update(progress)),
            onSkipped: (path) => output.warn(`${path} is not a file or folder, and was left out`),
          });
          bar?.stop();
          const { run, commit, tag, files, bytes, skipped } = result;
          const tagged = tag === null ? "" : `, tag ${tag}`;
          const left = skipped === 0 ? "" : `; left out ${count(skipped, "special file")}`;
          output.result(
            { run, commit, tag, files, bytes, skipped },
            `uploaded ${formatTotals(result)} to run ${run}, commit ${commit}${tagged}${left}`,
          );
        } catch (error) {
          bar?.stop();
          if (!(error instanceof ArtifactsUploadError) || error.uploadId === undefined) throw error;
          throw new ArtifactsUploadError(`${error.message} (to go on from there, add --resume ${error.uploadId})`, { cause: error });
        } finally {
          bar?.stop();
        }
      }),
    );
}
