/**
 * Reads blocks of entries, by hand for the same reason that they are written so. A block is only cut into its entries at first: who looks for a
 * path, or skips a folder, needs a few paths of the hundreds that a block has.
 */
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import type { LayerEntry, StoredExtent } from "./types.ts";

const TYPES = ["trace", "file", "folder", "link", "trace"] as const;
/** What an entry begins with, if it was written by us: its path's field. */
const PATH_TAG = (1 << 3) | WireType.LengthDelimited;

/** The entries of a block, sorted by path. */
export interface Entries {
  readonly length: number;
  path(i: number): string;
  entry(i: number): LayerEntry;
}

/** What all kinds of entries are made from. */
interface Fields {
  path: string;
  kind: number;
  size: number;
  mode: number;
  mtimeNs: bigint;
  crc32c: number;
  linkTarget: string;
  hidesOlder: boolean;
  extents: StoredExtent[];
}

/** Cuts a block into its entries; the bytes are kept, and decoded when they are asked for. */
export function openBlock(bytes: Uint8Array): Entries {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const reader = new BinaryReader(buffer);
  const objects: string[] = [];
  const starts: number[] = [];
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1) {
      objects.push(reader.string());
    } else if (field === 2) {
      starts.push(reader.pos);
      const length = reader.uint32();
      reader.pos += length;
    } else reader.skip(wireType, field);
  }
  if (reader.pos !== reader.len) throw new RangeError("a block ends in the middle of an entry");

  function entry(i: number): LayerEntry {
    reader.pos = starts[i] as number;
    return decodeEntry(reader, objects);
  }
  return {
    length: starts.length,
    path(i) {
      reader.pos = starts[i] as number;
      const end = reader.uint32() + reader.pos;
      if (reader.pos === end || buffer[reader.pos++] !== PATH_TAG) return entry(i).path;
      const length = reader.uint32();
      return buffer.toString("utf8", reader.pos, reader.pos + length);
    },
    entry,
  };
}

/** The data objects that a block's entries lie in, without decoding the entries. */
export function decodeObjects(bytes: Uint8Array): string[] {
  const reader = new BinaryReader(bytes);
  const objects: string[] = [];
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1) objects.push(reader.string());
    else reader.skip(wireType, field);
  }
  return objects;
}

function entryOf({ path, kind, size, mode, mtimeNs, crc32c, linkTarget, hidesOlder, extents }: Fields): LayerEntry {
  // A kind that isn't known, of a later version, is nothing to be seen.
  const type = TYPES[kind] ?? "trace";
  if (type === "file") return { path, type, size, mode, mtimeNs, crc32c, extents };
  if (type === "link") return { path, type, mtimeNs, linkTarget, extents };
  if (type === "trace") return { path, type, extents };
  return hidesOlder ? { path, type, mode, mtimeNs, extents, hidesOlder } : { path, type, mode, mtimeNs, extents };
}

function decodeEntry(reader: BinaryReader, objects: readonly string[]): LayerEntry {
  const end = reader.uint32() + reader.pos;
  const fields: Fields = {
    path: "",
    kind: 0,
    size: 0,
    mode: 0,
    mtimeNs: 0n,
    crc32c: 0,
    linkTarget: "",
    hidesOlder: false,
    extents: [],
  };
  while (reader.pos < end) {
    const [field, wireType] = reader.tag();
    if (field === 1) fields.path = reader.string();
    else if (field === 2) fields.kind = reader.int32();
    else if (field === 3) fields.size = Number(reader.uint64());
    else if (field === 4) fields.mode = reader.uint32();
    else if (field === 5) fields.mtimeNs = BigInt(reader.sfixed64());
    else if (field === 6) fields.crc32c = reader.fixed32();
    else if (field === 7) fields.linkTarget = reader.string();
    else if (field === 8) fields.extents.push(decodeExtent(reader, objects));
    else if (field === 9) fields.hidesOlder = reader.bool();
    else reader.skip(wireType, field);
  }
  return entryOf(fields);
}

function decodeExtent(reader: BinaryReader, objects: readonly string[]): StoredExtent {
  const end = reader.uint32() + reader.pos;
  let object = 0;
  let offset = 0;
  let length = 0;
  const crc32c: number[] = [];
  while (reader.pos < end) {
    const [field, wireType] = reader.tag();
    if (field === 1) object = reader.uint32();
    else if (field === 2) offset = Number(reader.uint64());
    else if (field === 3) length = Number(reader.uint64());
    else if (field === 4) {
      const stop = reader.uint32() + reader.pos;
      while (reader.pos < stop) crc32c.push(reader.fixed32());
    } else reader.skip(wireType, field);
  }
  return { object: objects[object] ?? "", offset, length, crc32c };
}
