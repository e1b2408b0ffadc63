/** Merges layers of a run's view, so that there are never many. */
import { create } from "@bufbuild/protobuf";
import { type Manifest, type Snapshot, SnapshotSchema } from "../../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { MergedCursor } from "./cursor.ts";
import { openLayer } from "./layer.ts";
import { SortedWriter, WRITER_LIMITS, type WriterLimits } from "./sorted-writer.ts";
import type { ObjectReader, ObjectWriter } from "./types.ts";
import { openView } from "./view.ts";

/**
 * Each layer has at least so many times the entries of the next newer one: so there are few, and an entry is written again only a few
 * times, however many come after it.
 */
const GROWTH = 4;

export interface FoldInput {
  /** The newest snapshot before. */
  readonly previous?: Snapshot;
  /** The commits since then, newest first; at least one. */
  readonly newer: readonly Manifest[];
  readonly deletedSeq: number;
}

export async function foldSnapshot(
  input: FoldInput,
  writer: ObjectWriter,
  reader: ObjectReader,
  limits: WriterLimits = WRITER_LIMITS,
): Promise<Snapshot> {
  const { previous, newer } = input;
  const before = previous?.layers ?? [];
  let entries = newer.reduce((sum, manifest) => sum + manifest.entries, 0n);
  let merged = 0;
  for (; merged < before.length && (before[merged] as Manifest).entries < BigInt(GROWTH) * entries; merged++) {
    entries += (before[merged] as Manifest).entries;
  }
  const kept = before.slice(merged);
  const layer = await mergeLayers([...newer, ...before.slice(0, merged)], kept.length > 0, writer, reader, limits);
  const known = previous && { layersFromIndex: newer.length, files: Number(previous.files), bytes: Number(previous.bytes) };
  const totals = await openView([...newer, ...before], reader, known ? { knownTotals: known } : {}).totals("");
  return create(SnapshotSchema, {
    deletedSeq: BigInt(input.deletedSeq),
    files: BigInt(totals.files),
    bytes: BigInt(totals.bytes),
    layers: [layer, ...kept],
  });
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
  const cursor = new MergedCursor(await Promise.all(layers.map((manifest) => openLayer(manifest, reader))), { keepTraces });
  const sorted = new SortedWriter(writer, limits);
  for (await cursor.seek(() => false, ""); cursor.current; await cursor.next()) {
    const putting = sorted.add(cursor.current);
    if (putting) await putting;
  }
  return sorted.finish();
}
