import type { Command } from "commander";
import type { Tag } from "../client/results.ts";
import { command, withClient } from "./command.ts";
import { formatTable, formatTime, printable } from "./format.ts";
import { parseRunAtCommit } from "./reference.ts";

export function tagsCommand(signal: AbortSignal): Command {
  return command("tags", "list, create and delete tags")
    .addCommand(
      command("ls", "list the tags of the project").action(
        withClient(signal, async ({ client, output }) => {
          const tags = await client.tags({ signal });
          const rows = tags.map((tag) => [tag.name, tag.run, String(tag.commit), printable(tag.path ?? ""), formatTime(tag.created)]);
          output.result(
            { tags: tags.map(toJson) },
            tags.length === 0 ? undefined : formatTable(["NAME", "RUN", ">COMMIT", "PATH", "CREATED"], rows),
          );
          if (tags.length === 0) output.note("no tags yet");
        }),
      ),
    )
    .addCommand(
      command("create", "name a run at one of its commits; later uploads don't change what the tag shows")
        .argument("<TAG>", "the new name")
        .argument("<RUN[@COMMIT]>", "the run, at its newest commit or another")
        .argument("[PATH]", "show only this file, or what is in this folder")
        .action(
          withClient<object, [string, string, string | undefined]>(signal, async ({ client, output }, name, run, path) => {
            const tag = await client.createTag(name, { ...parseRunAtCommit(run), path });
            output.result(toJson(tag), `tagged run ${tag.run}, commit ${tag.commit}, as ${tag.name}`);
          }),
        ),
    )
    .addCommand(
      command("rm", "delete a tag; its run stays")
        .argument("<TAG>", "its name")
        .action(
          withClient<object, [string]>(signal, async ({ client, output }, tag) => {
            await client.deleteTag(tag);
            output.result({ tag }, `deleted tag ${tag}`);
          }),
        ),
    );
}

function toJson({ name, run, commit, path, created }: Tag): object {
  return { name, run, commit, path, created };
}
