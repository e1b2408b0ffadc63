/**
 * How an upload or a copy becomes a commit.
 *
 * First `ended/{id}` is created with the manifest: from then on it can't be aborted, and whoever comes by can complete it. Then the
 * log's next entry (or, for a tagged upload, the tag's) is created, which is the commit. Both happen once, however often this is called.
 */
import { create, equals } from "@bufbuild/protobuf";
import {
  LogEntrySchema,
  type Manifest,
  type UploadEnd,
  UploadEndSchema,
  type UploadStart,
  UploadStartSchema,
} from "../../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import type { Context } from "../context.ts";
import { ArtifactsFailure } from "../errors.ts";
import { foldWhenDue } from "../fold.ts";
import { endedKey, logKey, uploadKey } from "../keys.ts";
import { type Logged, nextEntry } from "../log.ts";
import { tagExists } from "../tags.ts";
import type { Committed } from "../types.ts";

/** What was decided to be committed, and for what it was begun. */
export interface Finish {
  readonly start: UploadStart;
  readonly manifest: Manifest;
}

/** What an end says is to be committed; `undefined` if it is an abort. */
export function finishOf(end: UploadEnd): Finish | undefined {
  const { start, manifest } = end.outcome.case === "finish" ? end.outcome.value : {};
  return start && manifest && { start, manifest };
}

/** Decides that an upload is committed with this manifest, unless that was decided before, and commits it. */
export async function finishAndCommit(
  context: Context,
  project: string,
  id: string,
  start: UploadStart,
  manifest: Manifest,
): Promise<Committed> {
  const end = create(UploadEndSchema, { outcome: { case: "finish", value: { manifest, start } } });
  if (await context.objects.put(endedKey(project, id), UploadEndSchema, end)) return complete(context, project, id, { start, manifest });
  const decided = await context.objects.getFresh(endedKey(project, id), UploadEndSchema);
  if (!decided) throw uploadGone(id);
  return completeEnded(context, project, id, decided);
}

/** Commits an upload that was decided to be, or tells how it was; refuses one that was aborted. */
export function completeEnded(context: Context, project: string, id: string, end: UploadEnd): Promise<Committed> {
  const finish = finishOf(end);
  if (!finish) throw uploadGone(id);
  return complete(context, project, id, finish);
}

async function complete(context: Context, project: string, id: string, finish: Finish): Promise<Committed> {
  const { start } = finish;
  const commit = start.tag ? await completeTagged(context, project, id, finish) : await completeRun(context, project, id, finish);
  foldWhenDue(context, project, start.run, commit);
  return committed(project, commit, finish);
}

/** What is told of a commit. */
export function committed(project: string, commit: number, { start, manifest }: Finish): Committed {
  return {
    project,
    run: start.run,
    commit,
    files: Number(manifest.files),
    bytes: Number(manifest.bytes),
    ...(start.tag ? { tag: start.tag } : {}),
  };
}

/** The commit's number, if an upload that is decided is committed already. */
export async function findCommit(context: Context, project: string, id: string, start: UploadStart): Promise<number | undefined> {
  if (start.tag) {
    const ours = await context.tags.made(project, start.tag, id);
    return ours?.entry.change.case === "set" ? Number(ours.entry.change.value.seq) : undefined;
  }
  const ours = (await context.log.since(project, start.run, Number(start.beginSeq))).find(({ entry }) => entry.id === id);
  return ours?.entry.change.case === "commit" ? ours.seq : undefined;
}

function completeRun(context: Context, project: string, id: string, { start, manifest }: Finish): Promise<number> {
  const { log } = context;
  // Uploads of one server to one run go one after the other: racing each other would only cost them requests.
  return context.lock(`${project}/${start.run}`, async () => {
    let head = await headAt(context, project, start);
    for (;;) {
      const entries = await log.since(project, start.run, head?.seq ?? 0);
      const ours = entries.find(({ entry }) => entry.id === id);
      if (ours) return committedSeq(ours, id);
      head = entries[0] ?? head;
      await checkNotCollected(context, project, id, start);
      const change = { case: "commit" as const, value: { $typeName: "dstack.artifacts.storage.v1.Commit" as const, manifest } };
      if (await log.append(project, start.run, head, id, change, context.now())) return (head?.seq ?? 0) + 1;
    }
  });
}

/** The entry that was the newest when an upload began; what comes after it is to be read before one is added. */
export async function headAt(context: Context, project: string, start: UploadStart): Promise<Logged | undefined> {
  const seq = Number(start.beginSeq);
  return seq === 0 ? undefined : { seq, entry: await context.log.entry(project, start.run, seq) };
}

function committedSeq(ours: Logged, id: string): number {
  if (ours.entry.change.case !== "commit") throw uploadGone(id);
  return ours.seq;
}

async function completeTagged(context: Context, project: string, id: string, { start, manifest }: Finish): Promise<number> {
  const { objects, tags } = context;
  const now = context.now();
  const first = nextEntry(undefined, id, { case: "commit", value: { $typeName: "dstack.artifacts.storage.v1.Commit", manifest } }, now);
  const set = { $typeName: "dstack.artifacts.storage.v1.TagSet" as const, run: start.run, seq: 1n, path: "", first };
  const { entry } = await tags.append(project, start.tag, id, { case: "set", value: set }, now, async (head) => {
    if (head?.entry.change.case === "set") throw tagExists(start.tag);
    await checkNotCollected(context, project, id, start);
  });
  if (entry.change.case !== "set" || !entry.change.value.first) throw uploadGone(id);
  await objects.put(logKey(project, start.run, 1), LogEntrySchema, entry.change.value.first);
  return 1;
}

/**
 * What garbage collection took can't be committed; it takes the start before anything else. A start that isn't the same is that of
 * an upload that was begun since with the same id.
 */
export async function checkNotCollected(context: Context, project: string, id: string, start: UploadStart): Promise<void> {
  const found = await context.objects.getFresh(uploadKey(project, id), UploadStartSchema);
  if (!found || !equals(UploadStartSchema, found, start)) throw uploadGone(id);
}

export function uploadGone(id: string): ArtifactsFailure {
  return new ArtifactsFailure("UPLOAD_GONE", `upload ${id} was aborted or collected as garbage: begin a new one`, { upload_id: id });
}
