/**
 * Headers and ends of files, by hand: each small file has one of each, and protobuf-es makes several buffers for a message, which keep the
 * collector busy. A property test holds them to protobuf-es.
 */
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { type EntryHeader, EntryHeaderSchema, type FileEnd, FileEndSchema } from "../../gen/ts/dstack/artifacts/v1/entries_pb.ts";

const header = EntryHeaderSchema.field;
const end = FileEndSchema.field;
const MTIME_SECONDS = 1;
const MTIME_NANOS = 2;

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
    if (mtime.seconds !== 0n) writer.tag(MTIME_SECONDS, WireType.Varint).int64(mtime.seconds);
    if (mtime.nanos !== 0) writer.tag(MTIME_NANOS, WireType.Varint).int32(mtime.nanos);
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
