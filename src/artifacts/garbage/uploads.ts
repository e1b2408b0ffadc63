/** What a project has under upload ids: starts, ends and data, and which of them are still at work. */
import { create } from "@bufbuild/protobuf";
import { UploadEndSchema, type UploadStart, UploadStartSchema } from "../../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import type { Context } from "../context.ts";
import { ArtifactsFailure } from "../errors.ts";
import { closeFold } from "../fold.ts";
import { dataPrefix, endedKey, endedPrefix, lastSegment, uploadsPrefix } from "../keys.ts";
import { isTagging } from "../pin.ts";
import { tagExists } from "../tags.ts";
import { type Finish, finishOf, headAt } from "../uploads/commit.ts";

export interface UploadRecord {
  readonly id: string;
  readonly start: UploadStart | undefined;
  /** Bytes of the start object. */
  readonly startSize: number;
  /** Bytes of the end object, 0 if there is none. Ends hold manifests, and are not kept in memory. */
  readonly endSize: number;
  /** Whether it may still become a commit or a tag: its newest object is younger than the grace period. */
  readonly live: boolean;
}

/** All ids of a project; folds of views are among them, without start and end. */
export async function listUploadRecords(context: Context, project: string, liveSinceMs: number): Promise<Map<string, UploadRecord>> {
  const { objects } = context;
  const newest = new Map<string, number>();
  const note = (id: string, time: Date) => newest.set(id, Math.max(newest.get(id) ?? 0, time.getTime()));
  const prefix = dataPrefix(project);
  for await (const { key, lastModified } of objects.list(prefix))
    note(key.slice(prefix.length, key.indexOf("/", prefix.length)), lastModified);
  const starts = new Map<string, number>();
  for await (const { key, size, lastModified } of objects.list(uploadsPrefix(project))) {
    note(lastSegment(key), lastModified);
    starts.set(lastSegment(key), size);
  }
  const ends = new Map<string, number>();
  for await (const { key, size, lastModified } of objects.list(endedPrefix(project))) {
    const id = lastSegment(key);
    ends.set(id, size);
    const end = await objects.get(key, UploadEndSchema);
    // An abort is no sign of life; garbage collection makes them itself.
    note(id, end && finishOf(end) ? lastModified : new Date(0));
  }
  const records = new Map<string, UploadRecord>();
  for (const [id, time] of newest) {
    const startSize = starts.get(id);
    const start = startSize === undefined ? undefined : await objects.getFresh(uploadsPrefix(project) + id, UploadStartSchema);
    records.set(id, { id, start, startSize: startSize ?? 0, endSize: ends.get(id) ?? 0, live: time > liveSinceMs });
  }
  return records;
}

/**
 * Closes the door on what is dead, so that no server that slept meanwhile can make a commit, a tag or a snapshot of it any more. What
 * somebody was quicker to make is found by whoever marks what is reachable afterwards.
 */
export async function shutOut(context: Context, project: string, { id, start }: UploadRecord): Promise<void> {
  await closeFold(context, project, id);
  // The start goes only when the door is shut.
  if (!start) return;
  if (isTagging(start)) {
    await voidTag(context, project, id, start);
    await decide(context, project, id);
    return;
  }
  const finish = await decide(context, project, id);
  if (finish?.start.tag) await voidTag(context, project, id, finish.start);
  else if (finish) await voidRun(context, project, id, finish.start);
}

/** What was decided to be committed, if anything; what was not decided yet is aborted. */
async function decide(context: Context, project: string, id: string): Promise<Finish | undefined> {
  const key = endedKey(project, id);
  const abort = create(UploadEndSchema, { outcome: { case: "abort", value: {} } });
  const end = (await context.objects.getFresh(key, UploadEndSchema)) ?? abort;
  if (end !== abort || (await context.objects.put(key, UploadEndSchema, abort))) return finishOf(end);
  const decided = await context.objects.getFresh(key, UploadEndSchema);
  return decided && finishOf(decided);
}

// It finished: if its commit was not made, an entry of its id, in the place where that would have to go, keeps it from being made.
async function voidRun(context: Context, project: string, id: string, start: UploadStart): Promise<void> {
  let head = await headAt(context, project, start);
  for (;;) {
    const entries = await context.log.since(project, start.run, head?.seq ?? 0);
    if (entries.some(({ entry }) => entry.id === id)) return;
    head = entries[0] ?? head;
    const change = { case: "void" as const, value: { $typeName: "dstack.artifacts.storage.v1.Void" as const } };
    if (await context.log.append(project, start.run, head, id, change, context.now())) return;
  }
}

// The same for a tag.
async function voidTag(context: Context, project: string, id: string, start: UploadStart): Promise<void> {
  const removal = { case: "removal" as const, value: { $typeName: "dstack.artifacts.storage.v1.TagRemoval" as const } };
  try {
    await context.tags.append(project, start.tag, id, removal, context.now(), (head) => {
      // Another one's setting, which is not to be removed: a try that slept is behind it and looks again for its start before the next.
      if (head?.entry.change.case === "set") throw tagExists(start.tag);
    });
  } catch (error) {
    if (!(error instanceof ArtifactsFailure && error.reason === "TAG_EXISTS")) throw error;
  }
}
