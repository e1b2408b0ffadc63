/** Copies inside the store: a commit whose entries point at bytes that are there already. */
import { UploadEndSchema } from "../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { checkId, checkLinkTarget, checkName, checkPath, checkPathOrRoot } from "./check.ts";
import type { Context } from "./context.ts";
import { checkThere } from "./downloads/download.ts";
import { endedKey } from "./keys.ts";
import { createManifestWriter, type StoredEntry } from "./manifests/index.ts";
import { pin } from "./pin.ts";
import type { CallContext, Committed, CopyQuery } from "./types.ts";
import { completeEnded, finishAndCommit } from "./uploads/commit.ts";
import { claimRunFor, randomId } from "./uploads/uploads.ts";

export async function copy(context: Context, query: CopyQuery, { signal }: CallContext = {}): Promise<Committed> {
  const { project, run } = query;
  checkName("project", project);
  checkName("run", run);
  const id = query.requestId || `copy-${randomId(context)}`;
  checkId(id);
  const end = await context.objects.getFresh(endedKey(project, id), UploadEndSchema);
  if (end) return completeEnded(context, project, id, end);

  const { start, source: shown } = await pin(context, project, id, query.source, {
    run,
    async beginSeq() {
      await claimRunFor(context, project, run);
      return (await context.log.head(project, run))?.seq ?? 0;
    },
  });
  const sourcePath = checkPathOrRoot(query.sourcePath);
  await checkThere(shown, sourcePath, query.source);
  const source = await shown.view.get(sourcePath);
  const isFile = source !== undefined && source.type !== "folder";
  const target = query.path === undefined ? sourcePath : isFile ? checkPath(query.path) : checkPathOrRoot(query.path);

  const writer = createManifestWriter(context.manifestWriter(project, id), context.reader(project));
  for await (const batch of shown.view.entries({ path: sourcePath, ...(signal ? { signal } : {}) })) {
    for (const entry of batch) {
      const moved = move(entry, sourcePath, target);
      if (moved) await writer.add(moved);
    }
  }
  return finishAndCommit(context, project, id, start, await writer.finish());
}

function move(entry: StoredEntry, from: string, to: string): StoredEntry | undefined {
  const rest = from === "" ? entry.path : entry.path.slice(from.length + 1);
  const path = [to, rest].filter((part) => part !== "").join("/");
  // The folder that is copied into the root is the root.
  if (path === "") return undefined;
  checkPath(path);
  // One that is nearer to the root may lead out of it.
  if (entry.linkTarget !== undefined) checkLinkTarget(path, entry.linkTarget);
  return { ...entry, path };
}
