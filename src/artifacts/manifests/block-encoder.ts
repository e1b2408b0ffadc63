/**
 * Blocks of entries in their binary form, `dstack.artifacts.storage.v1.Block`. Written by hand, since a manifest may have a million
 * entries and the generated code takes several times as long; a test holds the two to the same bytes.
 */
import type { LayerEntry, StoredExtent } from "./types.ts";

const KINDS = { file: 1, folder: 2, link: 3, trace: 4 } as const;

/** A buffer that grows, and the wire types that are needed. */
class Output {
  bytes: Buffer;
  at = 0;

  constructor(capacity: number) {
    this.bytes = Buffer.allocUnsafe(capacity);
  }

  reserve(length: number): void {
    if (this.at + length <= this.bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.bytes.length * 2, this.at + length));
    this.bytes.copy(larger, 0, 0, this.at);
    this.bytes = larger;
  }

  /** An integer from 0 up to 2^53. */
  varint(value: number): void {
    this.reserve(8);
    let rest = value;
    for (; rest > 0x7fff_ffff; rest = Math.floor(rest / 128)) this.bytes[this.at++] = (rest % 128) | 0x80;
    for (; rest > 0x7f; rest >>>= 7) this.bytes[this.at++] = (rest & 0x7f) | 0x80;
    this.bytes[this.at++] = rest;
  }

  field(tag: number, value: number): void {
    this.varint(tag);
    this.varint(value);
  }

  fixed32(value: number): void {
    this.reserve(4);
    this.at = this.bytes.writeUInt32LE(value, this.at);
  }

  text(tag: number, text: string): void {
    this.reserve(text.length * 3);
    this.field(tag, Buffer.byteLength(text));
    this.reserve(text.length * 3);
    this.at += this.bytes.write(text, this.at, "utf8");
  }
}

// A field's number and its wire type, as one byte.
const BLOCK_OBJECTS = (1 << 3) | 2;
const BLOCK_ENTRIES = (2 << 3) | 2;
const PATH = (1 << 3) | 2;
const KIND = 2 << 3;
const SIZE = 3 << 3;
const MODE = 4 << 3;
const MTIME = (5 << 3) | 1;
const CRC32C = (6 << 3) | 5;
const LINK_TARGET = (7 << 3) | 2;
const EXTENTS = (8 << 3) | 2;
const HIDES_OLDER = 9 << 3;
const EXTENT_OBJECT = 1 << 3;
const EXTENT_OFFSET = 2 << 3;
const EXTENT_LENGTH = 3 << 3;
const EXTENT_CRC32C = (4 << 3) | 2;

/** Collects the entries of a block. Used again for the next one, it keeps its buffers. */
export class BlockEncoder {
  readonly #objects = new Map<string, number>();
  readonly #table: Output;
  readonly #entries: Output;
  readonly #entry = new Output(1024);

  /** `capacity`: bytes of a block, about. */
  constructor(capacity: number) {
    this.#table = new Output(1024);
    this.#entries = new Output(capacity);
  }

  /** Bytes of the block so far. */
  get bytes(): number {
    return this.#table.at + this.#entries.at;
  }

  add(entry: LayerEntry): void {
    const out = this.#entry;
    out.at = 0;
    out.text(PATH, entry.path);
    out.field(KIND, KINDS[entry.type]);
    if (entry.size) out.field(SIZE, entry.size);
    if (entry.mode) out.field(MODE, entry.mode);
    if (entry.mtimeNs) {
      out.reserve(9);
      out.bytes[out.at++] = MTIME;
      out.at = out.bytes.writeBigInt64LE(entry.mtimeNs, out.at);
    }
    if (entry.crc32c) {
      out.varint(CRC32C);
      out.fixed32(entry.crc32c);
    }
    if (entry.linkTarget) out.text(LINK_TARGET, entry.linkTarget);
    for (const extent of entry.extents) this.#addExtent(out, extent);
    if (entry.hidesOlder) out.field(HIDES_OLDER, 1);
    this.#entries.field(BLOCK_ENTRIES, out.at);
    this.#entries.reserve(out.at);
    out.bytes.copy(this.#entries.bytes, this.#entries.at, 0, out.at);
    this.#entries.at += out.at;
  }

  #addExtent(out: Output, extent: StoredExtent): void {
    let object = this.#objects.get(extent.object);
    if (object === undefined) {
      this.#objects.set(extent.object, (object = this.#objects.size));
      this.#table.text(BLOCK_OBJECTS, extent.object);
    }
    const crcs = extent.crc32c.length * 4;
    out.varint(EXTENTS);
    out.varint(sizeOf(object) + sizeOf(extent.offset) + sizeOf(extent.length) + (crcs ? 1 + varintBytes(crcs) + crcs : 0));
    if (object) out.field(EXTENT_OBJECT, object);
    if (extent.offset) out.field(EXTENT_OFFSET, extent.offset);
    if (extent.length) out.field(EXTENT_LENGTH, extent.length);
    if (crcs) out.field(EXTENT_CRC32C, crcs);
    for (const crc of extent.crc32c) out.fixed32(crc);
  }

  /** The block; the encoder is empty again. */
  finish(): Uint8Array {
    const block = Buffer.allocUnsafeSlow(this.bytes);
    this.#table.bytes.copy(block, 0, 0, this.#table.at);
    this.#entries.bytes.copy(block, this.#table.at, 0, this.#entries.at);
    this.#objects.clear();
    this.#table.at = 0;
    this.#entries.at = 0;
    return block;
  }
}

/** Bytes of an integer field with its tag; one that is 0 is left out. */
function sizeOf(value: number): number {
  return value ? 1 + varintBytes(value) : 0;
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) bytes++;
  return bytes;
}
