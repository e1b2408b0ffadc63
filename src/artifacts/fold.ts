/** Keeps a run's view cheap to read: now and then its newest commits are folded into a snapshot, behind everybody's back. */
import { create } from "@bufbuild/protobuf";
import { SnapshotSchema } from "../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import type { Context } from "./context.ts";
import { foldId, foldOf, snapshotKey } from "./keys.ts";
import { foldSnapshot } from "./manifests/index.ts";

/** Folds a run's view as a commit left it, in the background, if enough commits came since the last time. */
export function foldWhenDue(context: Context, project: string, run: string, seq: number): void {
  // Numbers, not counts, decide, so that most commits know at once that there is nothing to do.
  if (seq % context.settings.commitsPerSnapshot === 0) context.inBackground(() => fold(context, project, run, seq));
}

async function fold(context: Context, project: string, run: string, seq: number): Promise<void> {
  await context.lock(`fold ${project}/${run}`, async () => {
    const { snapshot, newer, deletedSeq } = await context.views.layers(project, run, seq);
    if (newer.length === 0) return;
    const writer = context.manifestWriter(project, foldId(run, seq));
    const input = { newer: newer.map(({ manifest }) => manifest), deletedSeq, ...(snapshot ? { previous: snapshot.value } : {}) };
    const folded = await foldSnapshot(input, writer, context.reader(project));
    await context.objects.put(snapshotKey(project, run, seq), SnapshotSchema, folded);
  });
}

/** Takes the place of the snapshot that a fold would make, if it isn't made yet; nothing happens for ids that aren't a fold's. */
export async function closeFold(context: Context, project: string, id: string): Promise<void> {
  const fold = foldOf(id);
  if (!fold) return;
  const key = snapshotKey(project, fold.run, fold.seq);
  if (!(await context.objects.get(key, SnapshotSchema)))
    await context.objects.put(key, SnapshotSchema, create(SnapshotSchema, { closed: true }));
}
