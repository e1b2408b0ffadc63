/** A manifest that is open for reading: blocks that are found by their paths and read when they are needed. */
import { fromBinary } from "@bufbuild/protobuf";
import { type BlockSummary, IndexSchema, type Location, type Manifest } from "../../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { LruCache } from "../../lib/lru-cache.ts";
import { type Entries, openBlock } from "./block-decoder.ts";
import type { ObjectReader, StretchLocation } from "./types.ts";

/** Bytes of the blocks and of the indexes that are kept open, of all manifests together; an index takes some four times as much. */
const OPEN_CACHE_BYTES = 16 * 1024 * 1024;

const openBlocks = new LruCache<string, Entries>(OPEN_CACHE_BYTES);
const openIndexes = new LruCache<string, readonly BlockRange[]>(OPEN_CACHE_BYTES);

export interface Totals {
  readonly files: number;
  readonly bytes: number;
}

/** A block as the index tells of it. */
export interface BlockRange extends Totals {
  readonly firstPath: string;
  readonly lastPath: string;
  readonly entries: number;
  /** Absent if the block is inline. */
  readonly location?: Location;
}

/** The blocks of a layer, in order. */
export interface Layer {
  readonly blocks: readonly BlockRange[];
  /** The entries of the block at an index. */
  block(i: number, signal?: AbortSignal): Entries | Promise<Entries>;
}

export interface LayerOptions {
  readonly signal?: AbortSignal | undefined;
  /** Read once and never again, so that it is not worth pushing others out of the cache. */
  readonly once?: boolean;
  /** Read from the store, whatever is kept open. */
  readonly fresh?: boolean;
}

export async function openLayer(manifest: Manifest, reader: ObjectReader, options: LayerOptions = {}): Promise<Layer> {
  const { content } = manifest;
  if (content.case === "index") {
    const blocks = await loadIndex(content.value, reader, options);
    return { blocks, block: (i, signal) => loadBlock(blocks[i] as BlockRange, reader, { ...options, signal }) };
  }
  const entries = openBlock(content.case === "block" ? content.value : new Uint8Array());
  const { length } = entries;
  if (length === 0) return { blocks: [], block: () => entries };
  const range = {
    firstPath: entries.path(0),
    lastPath: entries.path(length - 1),
    files: Number(manifest.files),
    bytes: Number(manifest.bytes),
    entries: length,
  };
  return { blocks: [range], block: () => entries };
}

/** What an index lists. */
export async function readIndex(location: Location, reader: ObjectReader, signal?: AbortSignal): Promise<readonly BlockRange[]> {
  return fromBinary(IndexSchema, await reader.read(location, signal)).blocks.map(rangeOf);
}

function rangeOf({ location, firstPath, lastPath, files, bytes, entries }: BlockSummary): BlockRange {
  if (!location) throw new Error("a block of an index has no location");
  return { location, firstPath, lastPath, files: Number(files), bytes: Number(bytes), entries };
}

async function loadIndex(location: Location, reader: ObjectReader, { signal, once, fresh }: LayerOptions): Promise<readonly BlockRange[]> {
  const key = cacheKey(location);
  const kept = fresh ? undefined : openIndexes.get(key);
  if (kept) return kept;
  const blocks = await readIndex(location, reader, signal);
  if (!once && !fresh) openIndexes.set(key, blocks, Number(location.length));
  return blocks;
}

function loadBlock({ location }: BlockRange, reader: ObjectReader, { signal, once, fresh }: LayerOptions): Entries | Promise<Entries> {
  if (!location) throw new Error("a block of an index has no location");
  const key = cacheKey(location);
  const kept = fresh ? undefined : openBlocks.get(key);
  if (kept) return kept;
  return reader.read(location, signal).then((bytes) => {
    const entries = openBlock(bytes);
    if (!once && !fresh) openBlocks.set(key, entries, bytes.length);
    return entries;
  });
}

// The checksum tells apart objects of different projects and stores, whose keys could be the same.
function cacheKey({ key, offset, length, crc32c }: StretchLocation): string {
  return `${key}#${offset}+${length}#${crc32c}`;
}
