import assert from "node:assert/strict";
import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { DataFooterSchema } from "../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { FooterEncoder, type NewPiece } from "../../src/artifacts/uploads/data-footer.ts";

const size = fc.oneof(fc.constant(0), fc.nat(300), fc.maxSafeNat());
const piece: fc.Arbitrary<NewPiece> = fc.record({
  path: fc.string({ unit: "grapheme", maxLength: 60 }),
  try: fc.oneof(fc.constant(0), fc.nat()),
  size: fc.option(size, { nil: undefined }),
  mtimeNs: fc.oneof(fc.constant(0n), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })),
  fileOffset: size,
  length: size,
  crc32c: fc.array(
    fc.nat().map((n) => (n * 2 + 1) >>> 0),
    { maxLength: 16 },
  ),
});

describe("the footer of a data object", () => {
  it("has the bytes that the generated code writes", () => {
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
        const encoder = new FooterEncoder();
        for (const each of pieces) encoder.add(each);
        const messages = pieces.map(({ size: announced, fileOffset, length, ...rest }) => ({
          ...rest,
          ...(announced === undefined ? {} : { size: BigInt(announced) }),
          fileOffset: BigInt(fileOffset),
          length: BigInt(length),
          crc32c: [...rest.crc32c],
        }));
        const expected = toBinary(DataFooterSchema, create(DataFooterSchema, { pieces: messages }));
        assert.deepEqual(Buffer.from(encoder.finish()), Buffer.from(expected));
        assert.equal(encoder.pieces, pieces.length);
      }),
      { numRuns: 500 },
    );
  });
});
