/** What can be seen in a store, read whole and checked. */
import { createHash } from "node:crypto";
import type { Artifacts, Reference } from "../../../src/artifacts/types.ts";
import type { Tree } from "./folders.ts";

export const PROJECT = "main";

/** Contents by path, as digests that are easy to compare. */
export type Shown = Readonly<Record<string, string>>;

export interface Seen {
  readonly runs: Readonly<Record<string, Shown>>;
  readonly tags: Readonly<Record<string, Shown>>;
}

export function digestsOf(tree: Tree): Shown {
  return Object.fromEntries(Object.entries(tree).map(([path, bytes]) => [path, digest([bytes])]));
}

function digest(parts: readonly Uint8Array[]): string {
  const hash = createHash("sha1");
  for (const part of parts) hash.update(part);
  return hash.digest("hex").slice(0, 12);
}

export async function shown(artifacts: Artifacts, reference: Reference): Promise<Shown> {
  const files: Record<string, string> = {};
  let path = "";
  let parts: Uint8Array[] = [];
  for await (const batch of artifacts.download({ project: PROJECT, reference })) {
    for (const event of batch) {
      if (event.type === "file") {
        path = event.entry.type === "file" ? event.entry.path : "";
        parts = [];
      } else if (event.type === "chunk") parts.push(event.bytes);
      else if (event.type === "fileEnd" && path !== "") files[path] = digest(parts);
    }
  }
  return files;
}

export async function lookAt(artifacts: Artifacts): Promise<Seen> {
  const runs: Record<string, Shown> = {};
  for (const { name } of (await artifacts.listRuns(PROJECT)).runs) runs[name] = await shown(artifacts, { run: name });
  const tags: Record<string, Shown> = {};
  for (const { name } of (await artifacts.listTags(PROJECT)).tags) tags[name] = await shown(artifacts, { tag: name });
  return { runs, tags };
}
