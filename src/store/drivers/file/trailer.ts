/**
 * What follows an object's bytes in its file, so that a whole read can be checked: 16 bytes, numbers little-endian.
 *
 * | bytes | meaning |
 * | --- | --- |
 * | 0–3 | `DSO1`, so that a file of zeros, as a file system may leave it after a power cut, isn't a valid empty object |
 * | 4–7 | CRC32C of the object's bytes |
 * | 8–15 | their number |
 */
import { crc32c } from "../../../lib/crc32c.ts";

export const TRAILER_BYTES = 16;
const MAGIC = Buffer.from("DSO1");
const CRC_OFFSET = 4;
const SIZE_OFFSET = 8;

export function encodeTrailer(size: number, crc: number): Uint8Array {
  const trailer = Buffer.alloc(TRAILER_BYTES);
  MAGIC.copy(trailer);
  trailer.writeUInt32LE(crc, CRC_OFFSET);
  trailer.writeBigUInt64LE(BigInt(size), SIZE_OFFSET);
  return trailer;
}

/** The size of the object in a file of `fileSize` bytes. A file that is too short for a trailer counts as empty; reading it finds the damage. */
export function objectSize(fileSize: number): number {
  return Math.max(0, fileSize - TRAILER_BYTES);
}

/** The object in a file's bytes, or `undefined` if they aren't what was written. */
export function checkedObject(file: Uint8Array): Uint8Array | undefined {
  if (file.length < TRAILER_BYTES) return undefined;
  const object = file.subarray(0, file.length - TRAILER_BYTES);
  const expected = encodeTrailer(object.length, crc32c(object));
  return Buffer.compare(expected, file.subarray(object.length)) === 0 ? object : undefined;
}
