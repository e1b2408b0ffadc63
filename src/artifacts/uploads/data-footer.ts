/** How a data object ends: with a list of what is in it, so that an upload can go on from the objects alone. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { DataFooterSchema, type Piece } from "../../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { crc32c } from "../../lib/crc32c.ts";
import { type ObjectInfo, StoreError } from "../../store/driver.ts";
import type { Objects } from "../objects.ts";

/** The footer's length, its CRC32C, and what tells a data object from anything else. */
const TRAILER_BYTES = 16;
const MAGIC = Buffer.from("DSTKDATA", "ascii");
/** Most footers are smaller, so that one request gets both. */
const TAIL_BYTES = 64 * 1024;

/** Pieces that are encoded together. As objects, all those of an object with many small files would be much to hold, and to collect. */
const PIECES_AT_ONCE = 64;

/** The end of a data object that is being filled. */
export class FooterEncoder {
  readonly #encoded: Uint8Array[] = [];
  #last: Piece[] = [];

  get pieceCount(): number {
    return this.#encoded.length * PIECES_AT_ONCE + this.#last.length;
  }

  add(piece: Piece): void {
    this.#last.push(piece);
    if (this.#last.length === PIECES_AT_ONCE) this.#encode();
  }

  /** Footer and trailer. */
  finish(): readonly [Uint8Array, Uint8Array] {
    this.#encode();
    const footer = Buffer.concat(this.#encoded);
    return [footer, encodeTrailer(footer)];
  }

  // Messages one behind the other are one whose lists are theirs one behind the other.
  #encode(): void {
    this.#encoded.push(toBinary(DataFooterSchema, create(DataFooterSchema, { pieces: this.#last })));
    this.#last = [];
  }
}

function encodeTrailer(footer: Uint8Array): Uint8Array {
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
