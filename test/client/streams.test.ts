/** Bytes and streams, up and down, without disk. */
import { strict as assert } from "node:assert";
import { Readable } from "node:stream";
import { bytesOf } from "../support/tree.ts";
import { bytesFrom, clientAt, serve, type TempFolder, type TestClient, type TestServer, tempFolder } from "./support.ts";

const MIB = 1024 * 1024;

describe("streams", () => {
  let folder: TempFolder;
  let server: TestServer;
  let client: TestClient;
  before(async () => {
    folder = tempFolder();
    server = await serve("memory:", folder.path);
    client = clientAt(server.url);
  });
  after(async () => {
    await client.close();
    await server.close();
    folder[Symbol.dispose]();
  });

  const content = bytesOf(3, 3 * MIB + 1);
  function* pieces() {
    for (let at = 0; at < content.length; at += 100_000) yield content.subarray(at, at + 100_000);
  }
  const SOURCES = {
    bytes: () => content,
    "an array of bytes": () => [...pieces()],
    "a generator": pieces,
    "a Readable": () => Readable.from(pieces()),
    "a web stream": () => Readable.toWeb(Readable.from(pieces())) as unknown as AsyncIterable<Uint8Array>,
  };
  for (const [name, source] of Object.entries(SOURCES)) {
    it(`${name} can be uploaded`, async () => {
      const { files, bytes } = await client.uploadBytes({ artifactPath: "s", source: source(), run: "streams" });
      assert.deepEqual([files, bytes], [1, content.length]);
      assert.ok((await bytesFrom(client.read({ run: "streams", artifactPath: "s" }))).equals(content));
    });
  }

  it("text is uploaded as UTF-8, and nothing as an empty file", async () => {
    await client.uploadBytes({ artifactPath: "text", source: "é", run: "streams" });
    await client.uploadBytes({ artifactPath: "none", source: Readable.from([]), run: "streams" });
    assert.equal(String(await bytesFrom(client.read({ run: "streams", artifactPath: "text" }))), "é");
    assert.equal((await bytesFrom(client.read({ run: "streams", artifactPath: "none" }))).length, 0);
  });

  it("a source's own error is thrown on, and nothing is seen of the upload", async () => {
    const broken = new Error("the sensor broke");
    async function* source() {
      yield content;
      throw broken;
    }
    await assert.rejects(client.uploadBytes({ artifactPath: "s", source: source(), run: "broken" }), (error) => error === broken);
    await assert.rejects(client.run("broken"), { name: "RunNotFoundError" });
  });

  it("a stream of text is refused", async () => {
    const source = Readable.from(["a", "b"]) as unknown as AsyncIterable<Uint8Array>;
    await assert.rejects(client.uploadBytes({ artifactPath: "s", source, run: "r" }), /gave a string where bytes are needed/);
  });

  it("a range is read, and one outside the file is an error", async () => {
    const read = async (range: { offset: number; length?: number }) => bytesFrom(client.read({ run: "streams", artifactPath: "s", range }));
    assert.ok((await read({ offset: 0, length: 1 })).equals(content.subarray(0, 1)));
    assert.ok((await read({ offset: MIB - 1, length: MIB + 2 })).equals(content.subarray(MIB - 1, 2 * MIB + 1)));
    assert.ok((await read({ offset: content.length - 5, length: 100 })).equals(content.subarray(-5)));
    assert.ok((await read({ offset: 2 * MIB })).equals(content.subarray(2 * MIB)));
    await assert.rejects(read({ offset: content.length }), { name: "ArtifactsDownloadError", reason: "RANGE_INVALID" });
    for (const range of [{ offset: -1 }, { offset: 0, length: 0 }, { offset: 0.5 }, { offset: Number.NaN }])
      await assert.rejects(read(range), { name: "ArtifactsDownloadError" });
  });

  it("what is no file can't be read", async () => {
    await client.uploadBytes({ artifactPath: "folder/file", source: "x", run: "streams" });
    for (const [artifactPath, message] of [
      ["folder", /"folder" is not a file/],
      ["", /the root is a folder/],
      ["nothing", /nothing/],
    ] as const) {
      await assert.rejects(bytesFrom(client.read({ run: "streams", artifactPath })), message);
    }
    await assert.rejects(bytesFrom(client.read({ run: "nobody", artifactPath: "x" })), { name: "RunNotFoundError" });
  });

  it("one server's reader is another's source, without disk", async () => {
    using other = tempFolder();
    await using second = await serve("memory:", other.path);
    await using to = clientAt(second.url);
    await to.uploadBytes({ artifactPath: "s", source: client.read({ run: "streams", artifactPath: "s" }), tag: "piped" });
    assert.ok((await bytesFrom(to.read({ tag: "piped", artifactPath: "s" }))).equals(content));
  });
});
