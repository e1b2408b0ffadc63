/** A manifest that is open for reading: blocks that are found by their paths and decoded when they are needed. */
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { BlockSchema, type BlockSummary, IndexSchema, type Manifest } from "../../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { LruCache } from "../../lib/lru-cache.ts";
import { comparePaths, isWithin } from "../../lib/paths.ts";
import { decodeBlock } from "./codec.ts";
import { isCounted, type LayerEntry, type ObjectReader } from "./types.ts";

/** Encoded bytes of the decoded blocks that are kept, of all manifests together. */
const DECODED_CACHE_BYTES = 16 * 1024 * 1024;

const decodedBlocks = new LruCache<string, readonly LayerEntry[]>(DECODED_CACHE_BYTES);

export interface Totals {
  readonly files: number;
  readonly bytes: number;
}

interface BlockRange {
  readonly firstPath: string;
  readonly lastPath: string;
  readonly files: number;
  readonly bytes: number;
}

/** The blocks of a layer. */
export interface Layer {
  readonly blocks: readonly BlockRange[];
  block(i: number, signal?: AbortSignal): readonly LayerEntry[] | Promise<readonly LayerEntry[]>;
}

export async function openLayer(manifest: Manifest, reader: ObjectReader, signal?: AbortSignal): Promise<Layer> {
  const { content } = manifest;
  if (content.case === "block") {
    const entries = decodeBlock(toBinary(BlockSchema, content.value));
    const first = entries[0];
    const last = entries.at(-1);
    if (!first || !last) return { blocks: [], block: () => [] };
    const range = { firstPath: first.path, lastPath: last.path, files: Number(manifest.files), bytes: Number(manifest.bytes) };
    return { blocks: [range], block: () => entries };
  }
  if (content.case !== "index") return { blocks: [], block: () => [] };
  const { blocks } = fromBinary(IndexSchema, await reader.read(content.value, signal));
  return {
    blocks: blocks.map(({ firstPath, lastPath, files, bytes }) => ({ firstPath, lastPath, files: Number(files), bytes: Number(bytes) })),
    block: (i, blockSignal) => loadBlock(blocks[i] as BlockSummary, reader, blockSignal),
  };
}

function loadBlock(
  { location }: BlockSummary,
  reader: ObjectReader,
  signal?: AbortSignal,
): readonly LayerEntry[] | Promise<readonly LayerEntry[]> {
  if (!location) throw new Error("a block has no location");
  const key = `${location.key}#${location.offset}`;
  const kept = decodedBlocks.get(key);
  if (kept) return kept;
  return reader.read(location, signal).then((bytes) => {
    const entries = decodeBlock(bytes);
    decodedBlocks.set(key, entries, bytes.length);
    return entries;
  });
}

/** Files under a path and their bytes; blocks that lie wholly under it are counted by the index. */
export async function layerTotals(layer: Layer, path: string): Promise<Totals> {
  const totals = { files: 0, bytes: 0 };
  for (const [i, range] of layer.blocks.entries()) {
    const first = isWithin(range.firstPath, path);
    const last = isWithin(range.lastPath, path);
    if (first && last) {
      totals.files += range.files;
      totals.bytes += range.bytes;
    } else if (first || last || mayHold(range, path)) {
      for (const entry of await layer.block(i)) {
        if (!isCounted(entry) || !isWithin(entry.path, path)) continue;
        totals.files++;
        totals.bytes += entry.size ?? 0;
      }
    }
  }
  return totals;
}

function mayHold(range: BlockRange, path: string): boolean {
  return comparePaths(range.firstPath, path) <= 0 && comparePaths(path, range.lastPath) <= 0;
}
