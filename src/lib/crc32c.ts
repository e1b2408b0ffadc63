/**
 * CRC32C (Castagnoli), the one checksum of this project: over bytes, over parts, and over the join of two stretches
 * whose checksums are known.
 */
import { crc32c as nativeCrc32c } from "@node-rs/crc32";

/** CRC32C of nothing. */
export const EMPTY_CRC32C = 0;

/** CRC32C of `bytes`, unsigned; `seed` is the CRC32C of what comes before them. */
export function crc32c(bytes: Uint8Array, seed: number = EMPTY_CRC32C): number {
  return nativeCrc32c(bytes, seed);
}

/** CRC32C of the join of `parts`; `seed` is the CRC32C of what comes before them. */
export function crc32cOfParts(parts: Iterable<Uint8Array>, seed: number = EMPTY_CRC32C): number {
  let crc = seed;
  for (const part of parts) crc = nativeCrc32c(part, crc);
  return crc;
}

/** Castagnoli's polynomial with the bits reflected: the highest bit is the coefficient of x^0. */
const POLYNOMIAL = 0x82f63b78;
/** The polynomial 1, reflected. */
const ONE = 0x8000_0000;
/** x^8, reflected: what one zero byte multiplies a checksum by. */
const ONE_ZERO_BYTE = 0x0080_0000;

/** Product of two reflected polynomials modulo Castagnoli's. */
function multiply(a: number, b: number): number {
  let product = 0;
  let rest = a;
  let shifted = b;
  while (rest !== 0) {
    if (rest < 0) product ^= shifted;
    rest <<= 1;
    shifted = (shifted >>> 1) ^ (POLYNOMIAL & -(shifted & 1));
  }
  return product;
}

/** At index n: what 2^n zero bytes multiply a checksum by. One for each bit that a safe integer can have. */
const zeroBytesPowers: readonly number[] = (() => {
  const powers: number[] = [];
  for (let power = ONE_ZERO_BYTE, n = 0; n < 53; n++) {
    powers.push(power);
    power = multiply(power, power);
  }
  return powers;
})();

/** Lengths repeat (chunks and data objects are mostly of one size), so their factors are kept, this many of them. */
const KEPT_FACTORS = 64;
const keptFactors = new Map<number, number>();

/** What `length` zero bytes multiply a checksum by. */
function zeroBytesFactor(length: number): number {
  const kept = keptFactors.get(length);
  if (kept !== undefined) return kept;
  let factor = ONE | 0;
  for (let rest = length, n = 0; rest > 0; rest = Math.floor(rest / 2), n++) {
    if (rest % 2 === 1) factor = multiply(zeroBytesPowers[n] as number, factor);
  }
  if (keptFactors.size >= KEPT_FACTORS) keptFactors.clear();
  keptFactors.set(length, factor);
  return factor;
}

/**
 * CRC32C of `a`'s bytes followed by `b`'s, from the two checksums and the number of `b`'s bytes.
 *
 * The checksum of a text followed by n zero bytes is the text's checksum times x^(8n), and checksums add; about a
 * microsecond, whatever the length.
 *
 * @throws RangeError if `lengthOfB` isn't a safe integer from 0.
 */
export function combineCrc32c(a: number, b: number, lengthOfB: number): number {
  if (!Number.isSafeInteger(lengthOfB) || lengthOfB < 0) throw new RangeError(`not a length in bytes: ${lengthOfB}`);
  return (multiply(a | 0, zeroBytesFactor(lengthOfB)) ^ b) >>> 0;
}

/** As 8 lower-case hexadecimal digits. */
export function formatCrc32c(crc: number): string {
  return (crc >>> 0).toString(16).padStart(8, "0");
}
