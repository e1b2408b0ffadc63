import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { create, fromBinary } from "@bufbuild/protobuf";
import { DataFooterSchema, PieceSchema } from "../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { FooterEncoder } from "../../src/artifacts/uploads/data-footer.ts";
import { OBJECT_PIECES } from "../../src/artifacts/uploads/data-writer.ts";
import { crc32c } from "../../src/lib/crc32c.ts";
import { PROJECT, servers, show, upload } from "../support/domain.ts";
import type { InterceptedDriver } from "../support/intercepted-driver.ts";

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
    assert.equal(dataObjects(artifacts.driver).length, 3);
    let chunks = 0;
    for await (const batch of artifacts.download({ project: PROJECT, reference: { run: "tiny" } }))
      for (const event of batch) if (event.type === "chunk") chunks += event.bytes.length;
    assert.equal(chunks, count);
    await artifacts.close();
  });

  it("hands them on as well when they hold one file that is begun again and again", async () => {
    const artifacts = await servers().open();
    const session = await artifacts.startUpload({ project: PROJECT, uploadId: randomUUID(), run: "again" });
    const bytes = Buffer.from("x");
    for (let i = 0; i <= OBJECT_PIECES; i++) {
      await session.file({ path: "file", type: "file", size: 1, try: i });
      await session.chunk(bytes);
    }
    assert.equal(dataObjects(artifacts.driver).length, 1);
    await session.endFile({ size: 1, crc32c: crc32c(bytes) });
    await session.finish({ files: 1, bytes: 1 });
    await session.close();
    assert.equal(dataObjects(artifacts.driver).length, 2);
    assert.deepEqual(await show(artifacts, { run: "again" }), { file: "x" });
    await artifacts.close();
  });
});

function dataObjects({ calls }: InterceptedDriver): unknown[] {
  return calls.filter(({ operation, key }) => operation === "putIfAbsent" && /\/data\/.*\/\d+$/.test(key));
}
