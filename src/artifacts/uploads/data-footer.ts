/** How a data object ends: with a list of what is in it, so that an upload can go on from the objects alone. */
import { fromBinary } from "@bufbuild/protobuf";
import { DataFooterSchema, type Piece } from "../../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { crc32c } from "../../lib/crc32c.ts";
import { type ObjectInfo, StoreError } from "../../store/driver.ts";
import type { Objects } from "../objects.ts";
import { Output } from "../output.ts";

/** The footer's length, its CRC32C, and what tells a data object from anything else. */
const TRAILER_BYTES = 16;
const MAGIC = Buffer.from("DSTKDATA", "ascii");
/** Most footers are smaller, so that one request gets both. */
const TAIL_BYTES = 64 * 1024;

// Of DataFooter and Piece: a field's number and its wire type, as one byte.
const PIECES = (1 << 3) | 2;
const PATH = (1 << 3) | 2;
const TRY = 2 << 3;
const SIZE = 3 << 3;
const MTIME = (4 << 3) | 1;
const FILE_OFFSET = 5 << 3;
const LENGTH = 6 << 3;
const CRC32C = (7 << 3) | 2;
const FIRST_BYTES = 256;

/** What a stretch of a file is; see `Piece` of the storage format. */
export interface NewPiece {
  readonly path: string;
  readonly try: number;
  readonly size: number | undefined;
  readonly mtimeNs: bigint;
  readonly fileOffset: number;
  readonly length: number;
  readonly crc32c: readonly number[];
}

/** The piece that is being written. */
const scratch = new Output(FIRST_BYTES);

/**
 * Writes a footer piece by piece, as protobuf-es would write it whole: thousands of pieces kept as objects are what the collector would spend its
 * time on. A property test holds the two to the same bytes.
 */
export class FooterEncoder {
  readonly #out = new Output(FIRST_BYTES);
  /** Pieces so far. */
  pieces = 0;

  add({ path, try: attempt, size, mtimeNs, fileOffset, length, crc32c }: NewPiece): void {
    scratch.at = 0;
    if (path !== "") scratch.text(PATH, path);
    if (attempt !== 0) scratch.field(TRY, attempt);
    if (size !== undefined) scratch.field(SIZE, size);
    if (mtimeNs !== 0n) scratch.fixed64(MTIME, mtimeNs);
    if (fileOffset !== 0) scratch.field(FILE_OFFSET, fileOffset);
    if (length !== 0) scratch.field(LENGTH, length);
    if (crc32c.length > 0) scratch.field(CRC32C, crc32c.length * 4);
    for (const crc of crc32c) scratch.fixed32(crc);
    this.#out.message(PIECES, scratch);
    this.pieces++;
  }

  finish(): Uint8Array {
    return this.#out.bytes.subarray(0, this.#out.at);
  }
}

export function encodeTrailer(footer: Uint8Array): Uint8Array {
  const trailer = Buffer.alloc(TRAILER_BYTES);
  trailer.writeUInt32LE(footer.length, 0);
  trailer.writeUInt32LE(crc32c(footer), 4);
  MAGIC.copy(trailer, 8);
  return trailer;
}

/** The pieces in a data object. */
export async function readFooter(objects: Objects, object: ObjectInfo, signal?: AbortSignal): Promise<readonly Piece[]> {
  const damaged = () => new StoreError("damaged", `${objects.driver.name}: ${object.key} has a damaged footer`);
  const tail = await readTail(objects, object, Math.min(object.size, TAIL_BYTES), signal);
  if (tail.length < TRAILER_BYTES || !tail.subarray(-MAGIC.length).equals(MAGIC)) throw damaged();
  const length = tail.readUInt32LE(tail.length - TRAILER_BYTES);
  const expected = tail.readUInt32LE(tail.length - TRAILER_BYTES + 4);
  const whole = length + TRAILER_BYTES;
  if (whole > object.size) throw damaged();
  const enough = whole <= tail.length ? tail : await readTail(objects, object, whole, signal);
  const footer = enough.subarray(enough.length - whole, enough.length - TRAILER_BYTES);
  if (crc32c(footer) !== expected) throw damaged();
  return fromBinary(DataFooterSchema, footer).pieces;
}

async function readTail(objects: Objects, object: ObjectInfo, length: number, signal?: AbortSignal): Promise<Buffer> {
  const bytes = await objects.driver.read(object.key, { offset: object.size - length, length }, { signal });
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
