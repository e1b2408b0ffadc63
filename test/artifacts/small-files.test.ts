import assert from "node:assert/strict";
import { create, fromBinary } from "@bufbuild/protobuf";
import { DataFooterSchema, PieceSchema } from "../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { FooterEncoder } from "../../src/artifacts/uploads/data-footer.ts";
import { OBJECT_PIECES } from "../../src/artifacts/uploads/data-writer.ts";
import { PROJECT, servers, upload } from "../support/domain.ts";

describe("the footer of a data object", () => {
  for (const count of [0, 1, 63, 64, 65, 128, 1_000]) {
    it(`holds ${count} pieces, in their order`, () => {
      const pieces = Array.from({ length: count }, (_, i) => create(PieceSchema, { path: `f${i}`, length: BigInt(i), crc32c: [i, i + 1] }));
      const footer = new FooterEncoder();
      for (const piece of pieces) footer.add(piece);
      assert.equal(footer.pieceCount, count);
      assert.deepEqual(fromBinary(DataFooterSchema, footer.finish()[0]).pieces, pieces);
    });
  }
});

describe("an upload of very many tiny files", () => {
  it("hands data objects on by the number of their pieces, and shows every file", async () => {
    const artifacts = await servers().open();
    const count = 2 * OBJECT_PIECES + 1;
    const files = Object.fromEntries(Array.from({ length: count }, (_, i) => [`file-${i}`, "x"]));
    await upload(artifacts, { run: "tiny" }, files);
    const objects = artifacts.driver.calls.filter(({ operation, key }) => operation === "putIfAbsent" && /\/data\/.*\/\d+$/.test(key));
    assert.equal(objects.length, 3);
    let chunks = 0;
    for await (const batch of artifacts.download({ project: PROJECT, reference: { run: "tiny" } }))
      for (const event of batch) if (event.type === "chunk") chunks += event.bytes.length;
    assert.equal(chunks, count);
    await artifacts.close();
  });
});
