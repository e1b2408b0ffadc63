import type { Command } from "commander";
import { command, withClient } from "./command.ts";
import { formatTable, formatTime } from "./format.ts";

export function uploadsCommand(signal: AbortSignal): Command {
  return command("uploads", "list and abort uploads that were cut off")
    .addCommand(
      command("ls", "list the uploads that were begun and not finished; `upload --resume` goes on with one").action(
        withClient(signal, async ({ client, output }) => {
          const uploads = await client.uploads();
          const rows = uploads.map(({ id, run, tag, created, state }) => [id, run, tag ?? "", formatTime(created), state]);
          output.result(
            { uploads: uploads.map(({ id, run, tag, created, state }) => ({ id, run, tag, created, state })) },
            uploads.length === 0 ? undefined : formatTable(["ID", "RUN", "TAG", "BEGUN", "STATE"], rows),
          );
          if (uploads.length === 0) output.note("no unfinished uploads");
        }),
      ),
    )
    .addCommand(
      command("rm", "abort an upload, so that it can never be finished")
        .argument("<UPLOAD>", "its id")
        .action(
          withClient<object, [string]>(signal, async ({ client, output }, id) => {
            await client.abortUpload(id);
            output.result({ id }, `aborted upload ${id}`);
          }),
        ),
    );
}
