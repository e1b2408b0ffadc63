import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { UploadState } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { EntryType } from "../../gen/ts/dstack/artifacts/v1/entries_pb.ts";
import { crc32c } from "../../src/lib/crc32c.ts";
import {
  all,
  clientOf,
  collect,
  cutAt,
  failureFrom,
  reasonOf,
  say,
  startTestServer,
  stream,
  type TestServer,
  toRun,
  uploadMessages,
} from "./support.ts";

const RUN = "run";
/** The hot path, and three ways to connect's. */
const WAYS = ["gRPC", "gRPC with JSON", "gRPC-Web over HTTP/1.1", "Connect over HTTP/2"];

type Message = ReturnType<typeof say>;
const start = () => say("start", { uploadId: randomUUID(), target: { case: "run", value: RUN } });
const file = (path = "x", more: object = {}) => say("file", { path, type: EntryType.FILE, ...more });
const folder = say("file", { path: "d", type: EntryType.FOLDER });
const link = (linkTarget: string, path = "l") => say("file", { path, type: EntryType.LINK, linkTarget });
const chunk = (text = "abc") => say("chunk", Buffer.from(text));
const end = (text = "abc", more: object = {}) => say("fileEnd", { size: BigInt(text.length), crc32c: crc32c(Buffer.from(text)), ...more });
const finish = (files: number, bytes: number) => say("finish", { files: BigInt(files), bytes: BigInt(bytes) });
const nothing: Message = { message: { case: undefined } as never };

/** Streams that break the order or the counts, by what is wrong with them. */
const WRONG: readonly [what: string, reason: string, messages: () => readonly Message[]][] = [
  ["no message", "MESSAGE_INVALID", () => []],
  ["a message of no kind first", "MESSAGE_INVALID", () => [nothing]],
  ["a message of no kind later", "MESSAGE_INVALID", () => [start(), nothing]],
  ["a file before start", "MESSAGE_INVALID", () => [file()]],
  ["a chunk before start", "MESSAGE_INVALID", () => [chunk()]],
  ["a skip before start", "MESSAGE_INVALID", () => [say("skip", 1n)]],
  ["a file's end before start", "MESSAGE_INVALID", () => [end()]],
  ["finish before start", "MESSAGE_INVALID", () => [finish(0, 0)]],
  ["a second start", "MESSAGE_INVALID", () => [start(), start()]],
  ["a second start inside a file", "MESSAGE_INVALID", () => [start(), file(), start()]],
  ["a start with no upload id", "UPLOAD_ID_INVALID", () => [say("start", { target: { case: "run", value: RUN } })]],
  ["a chunk without a file", "MESSAGE_INVALID", () => [start(), chunk()]],
  ["a chunk after a file's end", "MESSAGE_INVALID", () => [start(), file(), chunk(), end(), chunk()]],
  ["a chunk in a folder", "MESSAGE_INVALID", () => [start(), folder, chunk()]],
  ["a chunk in a link", "MESSAGE_INVALID", () => [start(), link("x"), chunk()]],
  ["an end to a folder", "MESSAGE_INVALID", () => [start(), folder, end("")]],
  ["a skip without a file", "MESSAGE_INVALID", () => [start(), say("skip", 1n)]],
  ["a skip of no bytes", "MESSAGE_INVALID", () => [start(), file(), say("skip", 0n)]],
  ["a skip of more bytes than there can be", "MESSAGE_INVALID", () => [start(), file(), say("skip", 2n ** 64n - 1n)]],
  ["a file's end without a file", "MESSAGE_INVALID", () => [start(), end()]],
  ["two ends of a file", "MESSAGE_INVALID", () => [start(), file(), chunk(), end(), end()]],
  ["a file inside a file", "MESSAGE_INVALID", () => [start(), file("x"), file("y")]],
  ["the same file again with the same try", "MESSAGE_INVALID", () => [start(), file("x"), file("x")]],
  ["a folder inside a file", "MESSAGE_INVALID", () => [start(), file(), folder]],
  ["finish inside a file", "MESSAGE_INVALID", () => [start(), file(), chunk(), finish(1, 3)]],
  ["no finish", "MESSAGE_INVALID", () => [start(), file(), chunk(), end()]],
  ["a message after finish", "MESSAGE_INVALID", () => [start(), finish(0, 0), folder]],
  ["a second finish", "MESSAGE_INVALID", () => [start(), finish(0, 0), finish(0, 0)]],
  ["an entry without a type", "MESSAGE_INVALID", () => [start(), say("file", { path: "x" })]],
  ["a mode that is more than permissions", "MESSAGE_INVALID", () => [start(), file("x", { mode: 0o100644 })]],
  ["a size that no number holds", "MESSAGE_INVALID", () => [start(), file("x", { size: 2n ** 60n })]],
  ["a path twice", "PATH_CONFLICT", () => [start(), file("x"), end(""), file("x"), end(""), finish(2, 0)]],
  ["a file that is a folder as well", "PATH_CONFLICT", () => [start(), file("x/y"), end(""), file("x"), end(""), finish(2, 0)]],
  ["the root as a file", "PATH_INVALID", () => [start(), file("/")]],
  ["a link that leads out", "PATH_INVALID", () => [start(), link("../x")]],
  ["an absolute link", "PATH_INVALID", () => [start(), link("/etc/passwd")]],
  ["a link to nothing", "PATH_INVALID", () => [start(), link("")]],
  ["a link's target over 4,096 bytes", "PATH_INVALID", () => [start(), link("a".repeat(4_097))]],
  ["more bytes than the header said", "SIZE_MISMATCH", () => [start(), file("x", { size: 2n }), chunk()]],
  ["fewer bytes than the header said", "SIZE_MISMATCH", () => [start(), file("x", { size: 4n }), chunk(), end()]],
  ["more bytes than the end says", "SIZE_MISMATCH", () => [start(), file(), chunk("abcd"), end("abc")]],
  ["fewer bytes than the end says", "SIZE_MISMATCH", () => [start(), file(), chunk("ab"), end("abc")]],
  ["more files than finish says", "SIZE_MISMATCH", () => [start(), file(), chunk(), end(), finish(0, 3)]],
  ["fewer files than finish says", "SIZE_MISMATCH", () => [start(), finish(1, 0)]],
  ["fewer bytes than finish says", "SIZE_MISMATCH", () => [start(), file(), chunk(), end(), finish(1, 4)]],
  ["more bytes in finish than any number", "MESSAGE_INVALID", () => [start(), say("finish", { files: 0n, bytes: 2n ** 63n })]],
  ["another checksum", "CHECKSUM_MISMATCH", () => [start(), file(), chunk(), end("abc", { crc32c: 1 })]],
  ["a skip of what isn't persisted", "PERSISTED_MISSING", () => [start(), file(), say("skip", 3n)]],
];

describe("an upload", () => {
  let server: TestServer;
  before(async () => {
    server = await startTestServer();
  });
  after(() => server[Symbol.asyncDispose]());

  for (const way of WAYS) {
    describe(way, () => {
      const client = () => clientOf(server.url, undefined, way);

      for (const [what, reason, messages] of WRONG) {
        it(`refuses ${what}: ${reason}`, async () => {
          const failure = await failureFrom(() => client().upload(stream(messages())));
          assert.equal(failure.reason, reason, failure.message);
        });
      }

      it("refuses a time that no Timestamp has", async () => {
        // protobuf's JSON can't say it.
        if (way === "gRPC with JSON" || way === "Connect over HTTP/2") return;
        for (const mtime of [{ seconds: 2n ** 60n }, { seconds: -(2n ** 60n) }, { nanos: -1 }, { nanos: 2_000_000_000 }]) {
          assert.equal(await reasonOf(() => client().upload(stream([start(), file("x", { mtime })]))), "MESSAGE_INVALID");
        }
      });

      it("refuses a chunk over the limit, and takes one at it", async () => {
        const { maxChunkBytes } = await client().getServerInfo({});
        const run = `limit-${randomUUID()}`;
        const begin = say("start", { uploadId: randomUUID(), target: { case: "run", value: run } });
        assert.equal(
          await reasonOf(() => client().upload(stream([begin, file(), chunk("x".repeat(maxChunkBytes + 1))]))),
          "MESSAGE_INVALID",
        );
        const text = "x".repeat(maxChunkBytes);
        const { bytes } = await client().upload(stream([begin, file(), chunk(text), end(text), finish(1, text.length)]));
        assert.equal(bytes, BigInt(maxChunkBytes));
      });

      it("takes a file again with a higher try, files without bytes, folders, links and empty chunks", async () => {
        const run = `all-${randomUUID()}`;
        const messages = [
          say("start", { uploadId: randomUUID(), target: { case: "run", value: run } }),
          file("again"),
          chunk("old bytes"),
          file("again", { try: 1 }),
          chunk(""),
          chunk("new"),
          end("new"),
          file("none"),
          end(""),
          folder,
          link("again"),
          finish(3, 3),
        ];
        const { files, bytes } = await client().upload(stream(messages));
        assert.deepEqual([files, bytes], [3n, 3n]);
        assert.deepEqual(await collect(client().download({ reference: toRun(run) })), { again: "new", none: "", d: "", l: "" });
      });

      it("goes on with what an earlier stream left, and tells it until then", async () => {
        const [uploadId, run] = [randomUUID(), `resumed-${randomUUID()}`];
        const first = uploadMessages({ run, uploadId }, { a: "12345", b: "678" });
        assert.equal(await reasonOf(() => client().upload(cutAt(first, "finish"))), "MESSAGE_INVALID");
        const { upload, files, nextPageToken } = await client().getUpload({ uploadId, pageSize: 1 });
        assert.deepEqual([upload?.state, upload?.run, files.map(({ path }) => path)], [UploadState.OPEN, run, ["a"]]);
        const second = await client().getUpload({ uploadId, pageSize: 1, pageToken: nextPageToken });
        assert.deepEqual(
          [second.files[0]?.path, second.files[0]?.spans.map((span) => [span.offset, span.length]), second.nextPageToken],
          ["b", [[0n, 3n]], ""],
        );
        const again = [
          say("start", { uploadId, target: { case: "run", value: run } }),
          file("a", { size: 5n }),
          say("skip", 5n),
          end("12345"),
          file("b", { size: 3n }),
          say("skip", 3n),
          end("678"),
          finish(2, 8),
        ];
        assert.equal((await client().upload(stream(again))).bytes, 8n);
        assert.deepEqual(await collect(client().download({ reference: toRun(run) })), { a: "12345", b: "678" });
        const done = await client().getUpload({ uploadId });
        assert.deepEqual([done.upload?.state, done.upload?.response?.run, done.files.length], [UploadState.COMMITTED, run, 0]);
        assert.ok(!(await client().listUploads({})).uploads.some((each) => each.uploadId === uploadId));
      });
    });
  }

  it("leaves nothing behind that can be seen, whatever was wrong with it", async () => {
    assert.deepEqual(
      (await clientOf(server.url).listRuns({})).runs.filter(({ name }) => name === RUN),
      [],
    );
  });

  it("keeps bytes in their order, whatever the sizes of their chunks", async () => {
    const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7 + (i >> 8)) & 0xff));
    const chunks: Message[] = [];
    const sizes = [1, 0, 4_096, 2, 4_097, 60_000, 3, 65_536, 5, 8_192, 1_000];
    for (let at = 0, i = 0; at < bytes.length; i++) {
      const size = sizes[i % sizes.length] as number;
      chunks.push(say("chunk", bytes.subarray(at, at + size)));
      at += size;
    }
    const messages = [say("start", { uploadId: randomUUID(), target: { case: "run", value: "sizes" } }), file("a"), ...chunks];
    messages.push(say("fileEnd", { size: BigInt(bytes.length), crc32c: crc32c(bytes) }), finish(1, bytes.length));
    await clientOf(server.url).upload(stream(messages));
    const found: Uint8Array[] = [];
    for await (const { message } of clientOf(server.url).download({ reference: toRun("sizes") })) {
      if (message.case === "chunk") found.push(message.value);
    }
    assert.ok(Buffer.concat(found).equals(bytes));
  });

  it("keeps ids of one project apart from those of another", async () => {
    const uploadId = randomUUID();
    const client = clientOf(server.url);
    await client.upload(uploadMessages({ run: "r", uploadId, project: "one" }, { a: "1" }));
    assert.equal(await reasonOf(() => client.getUpload({ project: "two", uploadId })), "UPLOAD_NOT_FOUND");
    await client.upload(uploadMessages({ run: "r", uploadId, project: "two" }, { a: "2" }));
    assert.deepEqual(await collect(client.download({ project: "one", reference: toRun("r") })), { a: "1" });
    assert.equal((await all(client.verify({ project: "two", reference: toRun("r") }))).at(-1)?.message.case, "finish");
  });
});
