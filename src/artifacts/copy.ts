/** Copies inside the store: a commit whose entries point at bytes that are there already. */
import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { UploadEndSchema, type UploadStart, UploadStartSchema } from "../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { checkId, checkName, checkPath, checkPathOrRoot } from "./check.ts";
import type { Context } from "./context.ts";
import { checkShown } from "./downloads/download.ts";
import { ArtifactsFailure } from "./errors.ts";
import { endedKey, uploadKey } from "./keys.ts";
import { createManifestWriter, type StoredEntry } from "./manifests/index.ts";
import type { CallContext, Committed, CopyQuery } from "./types.ts";
import { complete, finishAndCommit, uploadGone } from "./uploads/commit.ts";
import { claimRunFor, randomId } from "./uploads/uploads.ts";

export async function copy(context: Context, query: CopyQuery, { signal }: CallContext = {}): Promise<Committed> {
  const { project, run } = query;
  checkName("project", project);
  checkName("run", run);
  const id = query.requestId || `copy-${randomId(context)}`;
  checkId(id);
  const known = await context.objects.getFresh(uploadKey(project, id), UploadStartSchema);
  if (known) {
    const end = await context.objects.getFresh(endedKey(project, id), UploadEndSchema);
    if (end?.outcome.case === "abort") throw uploadGone(id);
    if (end?.outcome.value?.$typeName === "dstack.artifacts.storage.v1.UploadFinish" && end.outcome.value.manifest) {
      return complete(context, project, id, known, end.outcome.value.manifest);
    }
  }

  const resolved = await context.views.resolve(project, query.source);
  const sourcePath = await checkShown(resolved, checkPathOrRoot(query.sourcePath), { reference: query.source });
  const source = await resolved.view.get(sourcePath);
  const isFile = source !== undefined && source.type !== "folder";
  const target = query.path === undefined ? sourcePath : isFile ? checkPath(query.path) : checkPathOrRoot(query.path);

  const start = known ?? (await begin(context, query, id, resolved));
  const writer = createManifestWriter(context.manifestWriter(project, id), context.reader(project));
  for await (const batch of resolved.view.entries({ path: sourcePath, ...(signal ? { signal } : {}) })) {
    for (const entry of batch) {
      const moved = move(entry, sourcePath, target);
      if (moved) await writer.add(moved);
    }
  }
  return finishAndCommit(context, project, id, start, await writer.finish());
}

// The start names what is read, so that garbage collection leaves it alone meanwhile.
async function begin(
  context: Context,
  { project, run }: CopyQuery,
  id: string,
  source: { run: string; seq: number },
): Promise<UploadStart> {
  await claimRunFor(context, project, run);
  const head = await context.log.head(project, run);
  const start = create(UploadStartSchema, {
    run,
    beginSeq: BigInt(head?.seq ?? 0),
    time: timestampFromDate(context.now()),
    sourceRun: source.run,
    sourceSeq: BigInt(source.seq),
  });
  if (await context.objects.put(uploadKey(project, id), UploadStartSchema, start)) return start;
  throw new ArtifactsFailure("UPLOAD_ID_MISMATCH", `request ${id} is under way: try again with another id`, { upload_id: id });
}

function move(entry: StoredEntry, from: string, to: string): StoredEntry | undefined {
  const rest = from === "" ? entry.path : entry.path.slice(from.length + 1);
  const path = [to, rest].filter((part) => part !== "").join("/");
  // The folder that is copied into the root is the root.
  if (path === "") return undefined;
  return { ...entry, path: checkPath(path) };
}
