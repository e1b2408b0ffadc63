/**
 * Headers and ends of files, by hand: each small file has one of each, and protobuf-es makes several buffers for a message, which keep the
 * collector busy. A property test holds them to protobuf-es.
 */
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { type Timestamp, TimestampSchema } from "@bufbuild/protobuf/wkt";
import {
  type EntryHeader,
  EntryHeaderSchema,
  type EntryType,
  type FileEnd,
  FileEndSchema,
} from "../../gen/ts/dstack/artifacts/v1/entries_pb.ts";

const header = EntryHeaderSchema.field;
const end = FileEndSchema.field;
const time = TimestampSchema.field;

/** Used again and again: it keeps its buffer. */
const writer = new BinaryWriter();

/** A message whose field of this number is the header. */
export function encodeHeader(field: number, value: EntryHeader): Uint8Array {
  const { path, type, size, mode, mtime, linkTarget, try: attempt, crc32c, offset } = value;
  writer.tag(field, WireType.LengthDelimited).fork();
  if (path !== "") writer.tag(header.path.number, WireType.LengthDelimited).string(path);
  if (type !== 0) writer.tag(header.type.number, WireType.Varint).int32(type);
  if (size !== undefined) writer.tag(header.size.number, WireType.Varint).uint64(size);
  if (mode !== undefined) writer.tag(header.mode.number, WireType.Varint).uint32(mode);
  if (mtime !== undefined) {
    writer.tag(header.mtime.number, WireType.LengthDelimited).fork();
    if (mtime.seconds !== 0n) writer.tag(time.seconds.number, WireType.Varint).int64(mtime.seconds);
    if (mtime.nanos !== 0) writer.tag(time.nanos.number, WireType.Varint).int32(mtime.nanos);
    writer.join();
  }
  if (linkTarget !== "") writer.tag(header.linkTarget.number, WireType.LengthDelimited).string(linkTarget);
  if (attempt !== 0) writer.tag(header.try.number, WireType.Varint).uint32(attempt);
  if (crc32c !== undefined) writer.tag(header.crc32c.number, WireType.Bit32).fixed32(crc32c);
  if (offset !== 0n) writer.tag(header.offset.number, WireType.Varint).uint64(offset);
  return writer.join().finish();
}

/** A message whose field of this number is the file's end. */
export function encodeFileEnd(field: number, { size, crc32c }: FileEnd): Uint8Array {
  writer.tag(field, WireType.LengthDelimited).fork();
  if (size !== 0n) writer.tag(end.size.number, WireType.Varint).uint64(size);
  if (crc32c !== 0) writer.tag(end.crc32c.number, WireType.Bit32).fixed32(crc32c);
  return writer.join().finish();
}

/** A message whose only field is a header or a file's end. */
export type EntryMessage = { readonly case: "file"; readonly value: EntryHeader } | { readonly case: "fileEnd"; readonly value: FileEnd };

/**
 * Reads a message of the form that the two functions above write, and that all generated clients write of the same values. `undefined` if it
 * has another form, which protobuf-es is to read then: fields in another order, unknown ones, text beyond ASCII, numbers of the
 * highest bits.
 */
export function decodeEntry(bytes: Uint8Array, numbers: { readonly file: number; readonly fileEnd: number }): EntryMessage | undefined {
  const fields = new PlainFields(bytes);
  const isHeader = fields.has(numbers.file, WireType.LengthDelimited);
  if (!isHeader && !fields.has(numbers.fileEnd, WireType.LengthDelimited)) return undefined;
  if (!fields.isTheRest()) return undefined;
  const message: EntryMessage = isHeader ? { case: "file", value: plainHeader(fields) } : { case: "fileEnd", value: plainEnd(fields) };
  return fields.isPlain && fields.at === bytes.length ? message : undefined;
}

function plainHeader(fields: PlainFields): EntryHeader {
  const path = fields.has(header.path.number, WireType.LengthDelimited) ? fields.text() : "";
  const type = (fields.has(header.type.number, WireType.Varint) ? fields.varint31() : 0) as EntryType;
  const value: EntryHeader = { $typeName: EntryHeaderSchema.typeName, path, type, linkTarget: "", try: 0, offset: 0n };
  if (fields.has(header.size.number, WireType.Varint)) value.size = BigInt(fields.varint());
  if (fields.has(header.mode.number, WireType.Varint)) value.mode = fields.varint32();
  if (fields.has(header.mtime.number, WireType.LengthDelimited)) value.mtime = plainTime(fields);
  if (fields.has(header.linkTarget.number, WireType.LengthDelimited)) value.linkTarget = fields.text();
  if (fields.has(header.try.number, WireType.Varint)) value.try = fields.varint32();
  if (fields.has(header.crc32c.number, WireType.Bit32)) value.crc32c = fields.fixed32();
  if (fields.has(header.offset.number, WireType.Varint)) value.offset = BigInt(fields.varint());
  return value;
}

function plainTime(fields: PlainFields): Timestamp {
  const length = fields.varint();
  const last = fields.at + length;
  const seconds = fields.has(time.seconds.number, WireType.Varint) ? BigInt(fields.varint()) : 0n;
  const nanos = fields.has(time.nanos.number, WireType.Varint) ? fields.varint31() : 0;
  if (fields.at !== last) fields.isPlain = false;
  return { $typeName: TimestampSchema.typeName, seconds, nanos };
}

function plainEnd(fields: PlainFields): FileEnd {
  const size = fields.has(end.size.number, WireType.Varint) ? BigInt(fields.varint()) : 0n;
  const crc32c = fields.has(end.crc32c.number, WireType.Bit32) ? fields.fixed32() : 0;
  return { $typeName: FileEndSchema.typeName, size, crc32c };
}

/** The byte that a field of a number up to 15 begins with. */
export function tagOf(field: number, type: WireType): number {
  return (field << 3) | type;
}

/** Numbers that a varint of seven bytes can have are exact. */
const MAX_VARINT_BYTES = 7;

/** Fields in the order of their numbers, each at most once. Past the end every byte is one that no field begins with. */
class PlainFields {
  readonly #bytes: Buffer;
  /** Of the next byte. */
  at = 0;
  /** Whether all that was read has the plain form. */
  isPlain = true;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /** Whether this field comes next; then its value does. */
  has(field: number, type: WireType): boolean {
    if (this.#bytes[this.at] !== tagOf(field, type)) return false;
    this.at++;
    return true;
  }

  /** Whether the length that comes next is that of all that follows. */
  isTheRest(): boolean {
    return this.varint() === this.#bytes.length - this.at;
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < MAX_VARINT_BYTES; i++) {
      const byte = this.#next();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 0x80;
    }
    return this.#give(0);
  }

  varint32(): number {
    const value = this.varint();
    return value <= 0xffff_ffff ? value : this.#give(0);
  }

  varint31(): number {
    const value = this.varint();
    return value <= 0x7fff_ffff ? value : this.#give(0);
  }

  fixed32(): number {
    return (this.#next() | (this.#next() << 8) | (this.#next() << 16) | (this.#next() << 24)) >>> 0;
  }

  text(): string {
    const length = this.varint();
    const from = this.at;
    const to = from + length;
    if (to > this.#bytes.length) return this.#give("");
    for (let i = from; i < to; i++) if ((this.#bytes[i] as number) > 0x7f) return this.#give("");
    this.at = to;
    return this.#bytes.toString("latin1", from, to);
  }

  #next(): number {
    return this.#bytes[this.at++] ?? this.#give(0);
  }

  #give<T>(value: T): T {
    this.isPlain = false;
    return value;
  }
}
