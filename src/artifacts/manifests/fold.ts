/** Merges layers of a run's view, so that there are never many. */
import { create } from "@bufbuild/protobuf";
import { type Manifest, type Snapshot, SnapshotSchema } from "../../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { openLayer } from "./layer.ts";
import type { ReadAhead } from "./layer-cursor.ts";
import { MergedCursor } from "./merged-cursor.ts";
import { SortedWriter, WRITER_LIMITS, type WriterLimits } from "./sorted-writer.ts";
import { countOnto, countTotals } from "./totals.ts";
import type { ObjectReader, ObjectWriter } from "./types.ts";

/**
 * Each layer has at least so many times the entries of the next newer one: so there are few, and an entry is written again only a few
 * times, however many come after it.
 */
const GROWTH = 4n;

/** One block ahead for each layer: nobody waits for a fold, and many of the blocks are taken over unread. */
const READ_AHEAD: ReadAhead = { wants: () => true, ends: () => false, limit: 1 };

export interface FoldInput {
  /** The newest snapshot before. */
  readonly previous?: Snapshot;
  /** The commits since then, newest first; at least one. */
  readonly newer: readonly Manifest[];
  readonly deletedSeq: number;
}

/** The snapshot of a run's view after the newest of the commits. Blocks that nothing else lies in between stay where they are. */
export async function foldSnapshot(
  { previous, newer, deletedSeq }: FoldInput,
  writer: ObjectWriter,
  reader: ObjectReader,
  limits: WriterLimits = WRITER_LIMITS,
): Promise<Snapshot> {
  const older = previous?.layers ?? [];
  let entries = newer.reduce((sum, manifest) => sum + manifest.entries, 0n);
  let merged = 0;
  for (const layer of older) {
    if (layer.entries >= GROWTH * entries) break;
    entries += layer.entries;
    merged++;
  }
  const kept = older.slice(merged);
  const layer = await mergeLayers([...newer, ...older.slice(0, merged)], kept.length > 0, writer, reader, limits);
  const { files, bytes } = await totalsOf(newer, older, previous, reader);
  return create(SnapshotSchema, {
    deletedSeq: BigInt(deletedSeq),
    files: BigInt(files),
    bytes: BigInt(bytes),
    layers: layer.entries > 0n ? [layer, ...kept] : kept,
  });
}

async function totalsOf(newer: readonly Manifest[], older: readonly Manifest[], previous: Snapshot | undefined, reader: ObjectReader) {
  const open = (manifests: readonly Manifest[]) => Promise.all(manifests.map((manifest) => openLayer(manifest, reader)));
  if (!previous) return countTotals(await open(newer), "");
  return countOnto(await open(newer), await open(older), { files: Number(previous.files), bytes: Number(previous.bytes) });
}

async function mergeLayers(
  layers: readonly Manifest[],
  keepTraces: boolean,
  writer: ObjectWriter,
  reader: ObjectReader,
  limits: WriterLimits,
): Promise<Manifest> {
  const [only] = layers;
  if (only && layers.length === 1) return only;
  const opened = await Promise.all(layers.map((manifest) => openLayer(manifest, reader, { once: true })));
  const cursor = new MergedCursor(opened, { keepTraces, ahead: READ_AHEAD });
  const sorted = new SortedWriter(writer, limits);
  for (;;) {
    const block = cursor.takeBlock((range) => sorted.takes(range));
    if (block) {
      await sorted.addBlock(block);
      continue;
    }
    const loading = cursor.next();
    if (loading) await loading;
    if (!cursor.current) return sorted.finish();
    const putting = sorted.add(cursor.current);
    if (putting) await putting;
  }
}
