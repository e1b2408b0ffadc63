/** What a project has under upload ids: starts, ends and data, and which of them are still at work. */
import { create } from "@bufbuild/protobuf";
import {
  type UploadEnd,
  UploadEndSchema,
  type UploadStart,
  UploadStartSchema,
} from "../../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import type { Context } from "../context.ts";
import { dataPrefix, endedKey, endedPrefix, lastSegment, uploadsPrefix } from "../keys.ts";
import { findCommit } from "../uploads/commit.ts";

export interface UploadRecord {
  readonly id: string;
  readonly start: UploadStart | undefined;
  readonly end: UploadEnd | undefined;
  /** Bytes of the start object. */
  readonly startSize: number;
  /** Whether its newest object is younger than the grace period. */
  readonly live: boolean;
}

/** All ids of a project; folds of views are among them, without start and end. */
export async function listUploadRecords(
  context: Context,
  project: string,
  liveSinceMs: number,
): Promise<ReadonlyMap<string, UploadRecord>> {
  const { objects } = context;
  const newest = new Map<string, number>();
  const sizes = new Map<string, number>();
  const note = (id: string, time: Date) => newest.set(id, Math.max(newest.get(id) ?? 0, time.getTime()));
  const prefix = dataPrefix(project);
  for await (const { key, lastModified } of objects.list(prefix))
    note(key.slice(prefix.length, key.indexOf("/", prefix.length)), lastModified);
  for await (const { key, size, lastModified } of objects.list(uploadsPrefix(project))) {
    note(lastSegment(key), lastModified);
    sizes.set(lastSegment(key), size);
  }
  const ended = new Set<string>();
  for await (const { key, lastModified } of objects.list(endedPrefix(project))) {
    note(lastSegment(key), lastModified);
    ended.add(lastSegment(key));
  }
  const records = new Map<string, UploadRecord>();
  for (const [id, time] of newest) {
    const startSize = sizes.get(id);
    const start = startSize === undefined ? undefined : await objects.get(uploadsPrefix(project) + id, UploadStartSchema);
    const end = ended.has(id) ? await objects.get(endedKey(project, id), UploadEndSchema) : undefined;
    records.set(id, { id, start, end, startSize: startSize ?? 0, live: time > liveSinceMs });
  }
  return records;
}

/**
 * Closes the door on an upload that is dead, so that no server that slept meanwhile can commit it any more. `false` if it turns out to
 * be committed or about to be.
 */
export async function shutOut(context: Context, project: string, { id, start, end }: UploadRecord): Promise<boolean> {
  if (!start) return true;
  if (!end) {
    const abort = create(UploadEndSchema, { outcome: { case: "abort", value: {} } });
    return context.objects.put(endedKey(project, id), UploadEndSchema, abort);
  }
  if (end.outcome.case !== "finish" || (await findCommit(context, project, id, start)) !== undefined) return true;
  return start.tag ? voidTag(context, project, id, start) : voidRun(context, project, id, start);
}

// It finished, but its commit was never made: an entry of its id, in the place where the commit would have to go, keeps it from being made.
async function voidRun(context: Context, project: string, id: string, start: UploadStart): Promise<boolean> {
  for (;;) {
    const entries = await context.log.since(project, start.run, Number(start.beginSeq));
    const ours = entries.find(({ entry }) => entry.id === id);
    if (ours) return ours.entry.change.case === "void";
    const head = entries[0] ?? (await context.log.head(project, start.run));
    const change = { case: "void" as const, value: { $typeName: "dstack.artifacts.storage.v1.Void" as const } };
    if (await context.log.append(project, start.run, head, id, change, context.now())) return true;
  }
}

async function voidTag(context: Context, project: string, id: string, start: UploadStart): Promise<boolean> {
  const head = (await context.tags.entries(project, start.tag))[0];
  // While another upload's setting is the newest entry, this one is refused; a removal after it would be of another id.
  if (head?.entry.change.case === "set") return head.entry.id !== id;
  const removal = { case: "removal" as const, value: { $typeName: "dstack.artifacts.storage.v1.TagRemoval" as const } };
  const { entry } = await context.tags.append(project, start.tag, id, removal, context.now(), () => {});
  return entry.change.case === "removal";
}
