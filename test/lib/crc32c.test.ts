import assert from "node:assert/strict";
import fc from "fast-check";
import { combineCrc32c, crc32c, crc32cOfParts, formatCrc32c } from "../../src/lib/crc32c.ts";

/** The definition, bit by bit. */
function slowCrc32c(bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}

describe("CRC32C", () => {
  const known: readonly [string, Uint8Array, number][] = [
    ["nothing", new Uint8Array(0), 0],
    ["the digits 1 to 9", Buffer.from("123456789"), 0xe3069283],
    ["32 zero bytes (RFC 3720, B.4)", new Uint8Array(32), 0x8a9136aa],
    ["32 bytes of ones (RFC 3720, B.4)", new Uint8Array(32).fill(0xff), 0x62a8ab43],
    ["0 to 31 (RFC 3720, B.4)", Uint8Array.from({ length: 32 }, (_, i) => i), 0x46dd794e],
  ];
  for (const [what, bytes, crc] of known) {
    it(`of ${what} is ${formatCrc32c(crc)}`, () => assert.equal(crc32c(bytes), crc));
  }

  it("is what the definition gives, and unsigned", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => crc32c(bytes) === slowCrc32c(bytes)));
  });

  it("goes on from the checksum of what came before", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 6 }), fc.uint8Array(), (parts, before) => {
        const whole = crc32c(Buffer.concat([before, ...parts]));
        assert.equal(crc32cOfParts(parts, crc32c(before)), whole);
        assert.equal(crc32c(Buffer.concat(parts), crc32c(before)), whole);
      }),
    );
  });

  it("reads a view on a larger buffer within its bounds", () => {
    const large = Uint8Array.from({ length: 64 }, (_, i) => i * 7);
    assert.equal(crc32c(large.subarray(5, 41)), slowCrc32c(large.slice(5, 41)));
  });

  it("of a join is combined from the checksums of its halves", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3000 }), fc.uint8Array({ maxLength: 3000 }), (a, b) => {
        assert.equal(combineCrc32c(crc32c(a), crc32c(b), b.length), crc32c(Buffer.concat([a, b])));
      }),
      { numRuns: 500 },
    );
  });

  it("combines in any order of brackets, also for lengths that no memory holds", () => {
    const crc = fc.integer({ min: 0, max: 0xffff_ffff });
    const length = fc.integer({ min: 0, max: 2 ** 51 });
    fc.assert(
      fc.property(crc, crc, crc, length, length, (a, b, c, lengthOfB, lengthOfC) => {
        const left = combineCrc32c(combineCrc32c(a, b, lengthOfB), c, lengthOfC);
        const right = combineCrc32c(a, combineCrc32c(b, c, lengthOfC), lengthOfB + lengthOfC);
        assert.equal(left, right);
      }),
    );
  });

  it("combines a large second half", () => {
    const b = Buffer.alloc(40_000_001, "large");
    const a = Buffer.from("small");
    assert.equal(combineCrc32c(crc32c(a), crc32c(b), b.length), crc32c(b, crc32c(a)));
  });

  it("refuses a length that is none", () => {
    for (const length of [-1, 0.5, Number.NaN, 2 ** 53]) assert.throws(() => combineCrc32c(1, 2, length), RangeError);
  });

  it("is written with 8 digits", () => {
    assert.equal(formatCrc32c(0), "00000000");
    assert.equal(formatCrc32c(0xfedcba98), "fedcba98");
  });
});
