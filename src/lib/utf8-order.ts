/** The order of strings by their UTF-8 bytes, which is the order that object stores list keys in. */

const FIRST_SURROGATE = 0xd800;
const LAST_SURROGATE = 0xdfff;

/**
 * Negative when `a` comes before `b`, positive when after, 0 when they are equal.
 *
 * UTF-8 keeps the order of code points. JavaScript compares UTF-16 units, which differs in one thing: surrogates (code
 * points from 2^16) lie before U+E000 to U+FFFF there.
 */
export function compareUtf8(a: string, b: string): number {
  if (a === b) return 0;
  const end = Math.min(a.length, b.length);
  for (let i = 0; i < end; i++) {
    const unitOfA = a.charCodeAt(i);
    const unitOfB = b.charCodeAt(i);
    if (unitOfA !== unitOfB) return rank(unitOfA) - rank(unitOfB);
  }
  return a.length - b.length;
}

function rank(unit: number): number {
  return unit >= FIRST_SURROGATE && unit <= LAST_SURROGATE ? unit + 0x1_0000 : unit;
}
