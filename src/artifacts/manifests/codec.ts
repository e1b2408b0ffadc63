/**
 * Blocks of entries in their binary form, `dstack.artifacts.storage.v1.Block`. Written by hand, since a manifest may have a million
 * entries and the generated code takes several times as long; a test holds the two to the same bytes.
 */
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { LayerEntry, StoredExtent } from "./types.ts";

const KINDS = { file: 1, folder: 2, link: 3, trace: 4 } as const;
const TYPES = ["trace", "file", "folder", "link", "trace"] as const;

/** Collects entries of one block. */
export class BlockEncoder {
  readonly #objects = new Map<string, number>();
  readonly #entries: Uint8Array[] = [];
  #bytes = 0;

  /** Bytes of the block so far, but for a few. */
  get bytes(): number {
    return this.#bytes;
  }

  add(entry: LayerEntry): void {
    const encoded = this.#encode(entry);
    this.#entries.push(encoded);
    this.#bytes += encoded.length + 4;
  }

  finish(): Uint8Array {
    const writer = new BinaryWriter();
    for (const object of this.#objects.keys()) writer.tag(1, WireType.LengthDelimited).string(object);
    for (const entry of this.#entries) writer.tag(2, WireType.LengthDelimited).bytes(entry);
    return writer.finish();
  }

  #encode(entry: LayerEntry): Uint8Array {
    const writer = new BinaryWriter();
    writer.tag(1, WireType.LengthDelimited).string(entry.path);
    writer.tag(2, WireType.Varint).int32(KINDS[entry.type]);
    if (entry.size) writer.tag(3, WireType.Varint).uint64(entry.size);
    if (entry.mode) writer.tag(4, WireType.Varint).uint32(entry.mode);
    if (entry.mtimeNs) writer.tag(5, WireType.Bit64).sfixed64(entry.mtimeNs);
    if (entry.crc32c) writer.tag(6, WireType.Bit32).fixed32(entry.crc32c);
    if (entry.linkTarget) writer.tag(7, WireType.LengthDelimited).string(entry.linkTarget);
    for (const extent of entry.extents) this.#encodeExtent(writer.tag(8, WireType.LengthDelimited).fork(), extent).join();
    if (entry.hidesOlder) writer.tag(9, WireType.Varint).bool(true);
    return writer.finish();
  }

  #encodeExtent(writer: BinaryWriter, extent: StoredExtent): BinaryWriter {
    let object = this.#objects.get(extent.object);
    if (object === undefined) {
      this.#objects.set(extent.object, (object = this.#objects.size));
      this.#bytes += extent.object.length + 4;
    }
    if (object) writer.tag(1, WireType.Varint).uint32(object);
    if (extent.offset) writer.tag(2, WireType.Varint).uint64(extent.offset);
    writer.tag(3, WireType.Varint).uint64(extent.length);
    writer.tag(4, WireType.LengthDelimited).fork();
    for (const crc of extent.crc32c) writer.fixed32(crc);
    return writer.join();
  }
}

export function decodeBlock(bytes: Uint8Array): LayerEntry[] {
  const reader = new BinaryReader(bytes);
  const objects: string[] = [];
  const entries: LayerEntry[] = [];
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1) objects.push(reader.string());
    else if (field === 2) entries.push(decodeEntry(reader, objects));
    else reader.skip(wireType, field);
  }
  return entries;
}

function decodeEntry(reader: BinaryReader, objects: readonly string[]): LayerEntry {
  const end = reader.uint32() + reader.pos;
  let path = "";
  let kind = 0;
  let size = 0;
  let mode = 0;
  let mtimeNs = 0n;
  let crc32c = 0;
  let linkTarget = "";
  let hidesOlder = false;
  const extents: StoredExtent[] = [];
  while (reader.pos < end) {
    const [field, wireType] = reader.tag();
    if (field === 1) path = reader.string();
    else if (field === 2) kind = reader.int32();
    else if (field === 3) size = Number(reader.uint64());
    else if (field === 4) mode = reader.uint32();
    else if (field === 5) mtimeNs = BigInt(reader.sfixed64());
    else if (field === 6) crc32c = reader.fixed32();
    else if (field === 7) linkTarget = reader.string();
    else if (field === 8) extents.push(decodeExtent(reader, objects));
    else if (field === 9) hidesOlder = reader.bool();
    else reader.skip(wireType, field);
  }
  const type = TYPES[kind] ?? "trace";
  if (type === "file") return { path, type, size, mode, mtimeNs, crc32c, extents };
  if (type === "link") return { path, type, mtimeNs, linkTarget, extents };
  if (type === "folder") return { path, type, mode, mtimeNs, extents, ...(hidesOlder ? { hidesOlder } : {}) };
  return { path, type, extents };
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
