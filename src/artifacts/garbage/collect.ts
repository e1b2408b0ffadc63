/**
 * Garbage collection in two steps a grace period apart, so that whatever was under way when an object seemed unreachable has ended
 * before the object goes: first it is condemned, in a list of its own; then, if it is still unreachable, deleted.
 *
 * Each time the order is: what is dead is shut out, then what is reachable is marked, then the rest is judged. So nothing that is not
 * marked can become reachable any more, however long this or another server sleeps.
 */
import { create } from "@bufbuild/protobuf";
import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { CondemnedListSchema, RunClaimSchema } from "../../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { StoreError } from "../../store/driver.ts";
import type { Context } from "../context.ts";
import { afterProject, clockKey, condemnedKey, dataPrefix, endedKey, garbagePrefix, projectOf, runsPrefix, uploadKey } from "../keys.ts";
import type { CallContext, GarbageProgress } from "../types.ts";
import { randomId } from "../uploads/uploads.ts";
import { markReachable } from "./mark.ts";
import { listUploadRecords, shutOut } from "./uploads.ts";

const DEFAULT_GRACE_MS = 24 * 60 * 60 * 1000;
/** Keys in one list of condemned objects. */
const KEYS_PER_LIST = 10_000;
/** More than a run's claim can have: an id and a time. */
const MAX_CLAIM_BYTES = 256;
/** Objects between two messages of progress. */
const PROGRESS_OBJECTS = 1000;

interface Run {
  readonly graceMs: number;
  readonly dryRun: boolean;
  readonly counts: {
    scannedObjects: number;
    condemnedObjects: number;
    condemnedBytes: number;
    deletedObjects: number;
    deletedBytes: number;
  };
  /** Whether something was put off, since the store had no room for what had to be written before. */
  full: boolean;
}

export async function* collectGarbage(
  context: Context,
  options: { graceMs?: number; dryRun?: boolean },
  { signal }: CallContext,
): AsyncGenerator<GarbageProgress, void, undefined> {
  const counts = { scannedObjects: 0, condemnedObjects: 0, condemnedBytes: 0, deletedObjects: 0, deletedBytes: 0 };
  const run: Run = { graceMs: options.graceMs ?? DEFAULT_GRACE_MS, dryRun: options.dryRun === true, counts, full: false };
  for await (const project of projects(context)) {
    for await (const _ of collectProject(context, project, run)) {
      signal?.throwIfAborted();
      yield { ...counts, done: false };
    }
  }
  if (run.full) {
    throw new StoreError(
      "full",
      `${context.objects.driver.name} has no room for what garbage collection writes before it deletes: ${counts.deletedObjects} objects ` +
        "that need no such thing were deleted, the rest is left: free space if that is none, and run it again",
    );
  }
  yield { ...counts, done: true };
}

async function* projects(context: Context): AsyncGenerator<string, void, undefined> {
  let after: string | undefined;
  for (;;) {
    const first = await context.objects.first("", after, (key) => projectOf(key) !== undefined);
    const project = first && projectOf(first.key);
    if (project === undefined) return;
    if (await hasRun(context, project)) yield project;
    after = afterProject(project);
  }
}

/**
 * Whether a run's name was claimed there, which comes before all else in a project and is never undone. A folder of somebody else may
 * have keys that look like ours, but no such objects.
 */
async function hasRun({ objects }: Context, project: string): Promise<boolean> {
  for await (const { key, size } of objects.list(runsPrefix(project))) {
    if (size > MAX_CLAIM_BYTES) continue;
    try {
      if ((await objects.get(key, RunClaimSchema))?.time) return true;
    } catch (error) {
      if (!(error instanceof StoreError && error.kind === "damaged")) throw error;
    }
  }
  return false;
}

/** One object that nothing reaches. */
interface Candidate {
  readonly key: string;
  readonly size: number;
}

async function* collectProject(context: Context, project: string, run: Run): AsyncGenerator<void, void, undefined> {
  const { objects } = context;
  const { counts, graceMs, dryRun } = run;
  const nowMs = await storeTime(context, project, dryRun);
  const dueMs = nowMs - graceMs;
  const condemned = await loadCondemned(context, project);
  const uploads = await listUploadRecords(context, project, dueMs);
  const fresh: string[] = [];

  async function judge({ key, size }: Candidate): Promise<void> {
    const since = condemned.times.get(key);
    const due = graceMs === 0 || (since !== undefined && since <= dueMs);
    if (since === undefined) {
      counts.condemnedObjects++;
      counts.condemnedBytes += size;
      if (graceMs > 0) fresh.push(key);
    }
    if (!due) return;
    if (!dryRun) await objects.delete(key);
    counts.deletedObjects++;
    counts.deletedBytes += size;
  }

  for (const upload of uploads.values()) {
    counts.scannedObjects++;
    if (upload.live) continue;
    if (!dryRun && !(await fits(run, () => shutOut(context, project, upload)))) {
      // Its door is still open: it may go on, as one that lives.
      uploads.set(upload.id, { ...upload, live: true });
      continue;
    }
    if (upload.start) await judge({ key: uploadKey(project, upload.id), size: upload.startSize });
    else if (upload.endSize > 0) await judge({ key: endedKey(project, upload.id), size: upload.endSize });
    if (counts.scannedObjects % PROGRESS_OBJECTS === 0) yield;
  }
  const reachable = await markReachable(context, project, uploads.values());
  const prefix = dataPrefix(project);
  const relative = prefix.length - "data/".length;
  for await (const { key, size } of objects.list(prefix)) {
    if (++counts.scannedObjects % PROGRESS_OBJECTS === 0) yield;
    const upload = uploads.get(key.slice(prefix.length, key.indexOf("/", prefix.length)));
    // What was not there when the uploads were listed is younger than that.
    if (!upload || upload.live || reachable.has(key.slice(relative))) continue;
    await judge({ key, size });
  }
  if (!dryRun) {
    await fits(run, () => condemn(context, project, fresh, nowMs));
    for (const { key, time } of condemned.lists) if (graceMs === 0 || time <= dueMs) await objects.delete(key);
  }
  yield;
}

async function condemn(context: Context, project: string, keys: readonly string[], nowMs: number): Promise<void> {
  for (let at = 0; at < keys.length; at += KEYS_PER_LIST) {
    const list = create(CondemnedListSchema, { time: timestampFromDate(new Date(nowMs)), keys: keys.slice(at, at + KEYS_PER_LIST) });
    await context.objects.put(condemnedKey(project, new Date(nowMs), randomId(context)), CondemnedListSchema, list);
  }
}

async function loadCondemned(
  context: Context,
  project: string,
): Promise<{ times: Map<string, number>; lists: { key: string; time: number }[] }> {
  const times = new Map<string, number>();
  const lists: { key: string; time: number }[] = [];
  for await (const { key } of context.objects.list(garbagePrefix(project))) {
    const list = await context.objects.getFresh(key, CondemnedListSchema);
    if (!list?.time) continue;
    const time = timestampDate(list.time).getTime();
    lists.push({ key, time });
    for (const condemnedKey of list.keys) times.set(condemnedKey, Math.min(time, times.get(condemnedKey) ?? time));
  }
  return { times, lists };
}

/** Does what writes into the store. Tells whether there was room: what is deleted without makes some for the next time. */
async function fits(run: Run, write: () => Promise<void>): Promise<boolean> {
  try {
    await write();
    return true;
  } catch (error) {
    if (!isFull(error)) throw error;
    run.full = true;
    return false;
  }
}

function isFull(error: unknown): boolean {
  return error instanceof StoreError && error.kind === "full";
}

// Ages are told by the store's clock; the one way to ask it is to make an object.
async function storeTime(context: Context, project: string, dryRun: boolean): Promise<number> {
  if (dryRun) return context.now().getTime();
  const key = clockKey(project, randomId(context));
  try {
    await context.objects.put(key, CondemnedListSchema, create(CondemnedListSchema));
    const object = await context.objects.first(key);
    return object?.lastModified.getTime() ?? context.now().getTime();
  } catch (error) {
    if (!isFull(error)) throw error;
    return await timeOfNewest(context, project);
  } finally {
    await context.objects.delete(key);
  }
}

// Without room for an object: a time that has surely come. That it is early only puts things off.
async function timeOfNewest(context: Context, project: string): Promise<number> {
  let newest = 0;
  for await (const { lastModified } of context.objects.list(`${project}/`)) newest = Math.max(newest, lastModified.getTime());
  return Math.min(newest, context.now().getTime());
}
