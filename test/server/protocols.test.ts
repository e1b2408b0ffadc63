import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { Code, ConnectError } from "@connectrpc/connect";
import { credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { UploadState } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { EntryType } from "../../gen/ts/dstack/artifacts/v1/entries_pb.ts";
import { createArtifactsClient } from "../../src/grpc-js.ts";
import { failureOf } from "../../src/wire/status.ts";
import { all, clientOf, collect, RUN, reasonOf, startTestServer, type TestServer, TOKEN, TRANSPORTS, uploadMessages } from "./support.ts";

const BIG = Buffer.alloc(3 * 1024 * 1024 + 17, "0123456789abcdef");
const FILES = { "a.txt": "hello", "dir/b.bin": BIG, "dir/empty": "" };
const AS_TEXT = { "a.txt": "hello", "dir/b.bin": BIG.toString(), "dir/empty": "" };
const BYTES = BigInt(5 + BIG.length);

describe("the server speaks", () => {
  let server: TestServer;
  before(async () => {
    server = await startTestServer();
  });
  after(() => server[Symbol.asyncDispose]());

  for (const transport of Object.keys(TRANSPORTS)) {
    describe(transport, () => {
      const id = transport.toLowerCase().replace(/[^a-z0-9]+/g, "-");
      const run = `run-of-${id}`;
      const tag = `tag-of-${id}`;
      const reference = { target: { case: "run" as const, value: { name: run } } };
      const client = () => clientOf(server.url, undefined, transport);

      it("uploads, lists and downloads", async () => {
        const uploaded = await client().upload(uploadMessages({ run }, FILES));
        assert.deepEqual([uploaded.run, uploaded.commit, uploaded.files, uploaded.bytes, uploaded.project], [run, 1n, 3n, BYTES, "main"]);
        const listed = await client().listEntries({ reference, recursive: true });
        assert.deepEqual(
          listed.entries.filter(({ type }) => type === EntryType.FILE).map(({ path, size }) => [path, size]),
          [
            ["a.txt", 5n],
            ["dir/b.bin", BigInt(BIG.length)],
            ["dir/empty", 0n],
          ],
        );
        assert.deepEqual([listed.totalFiles, listed.totalBytes, listed.commit], [3n, BYTES, 1n]);
        assert.deepEqual(await collect(client().download({ reference })), AS_TEXT);
        assert.deepEqual(await collect(client().download({ reference, path: "a.txt", range: { offset: 1n, length: 3n } })), {
          "a.txt": "ell",
        });
      });

      it("keeps tags", async () => {
        const { tag: created } = await client().createTag({ tag, run, path: "dir" });
        assert.deepEqual([created?.name, created?.run, created?.commit, created?.path], [tag, run, 1n, "dir"]);
        assert.deepEqual((await client().getTag({ tag })).tag, created);
        assert.ok((await client().listTags({})).tags.some(({ name }) => name === tag));
        assert.deepEqual(
          Object.keys(await collect(client().download({ reference: { target: { case: "tag", value: tag } } }))).includes("a.txt"),
          false,
        );
        assert.equal(await reasonOf(() => client().createTag({ tag, run })), "TAG_EXISTS");
        assert.equal(await reasonOf(() => client().deleteRun({ run })), "RUN_HAS_TAGS");
        await client().deleteTag({ tag });
        assert.equal(await reasonOf(() => client().getTag({ tag })), "TAG_NOT_FOUND");
      });

      it("copies, checks and tells about runs", async () => {
        const copied = await client().copy({ source: reference, sourcePath: "dir", run, path: "copy" });
        assert.deepEqual([copied.run, copied.commit, copied.files], [run, 2n, 2n]);
        const checked = (await all(client().verify({ reference }))).at(-1)?.message;
        assert.equal(checked?.case, "finish");
        assert.deepEqual(checked?.case === "finish" && [checked.value.files, checked.value.damaged], [5n, 0n]);
        const { run: told } = await client().getRun({ run });
        assert.deepEqual([told?.name, told?.commits, told?.newestCommit, told?.files], [run, 2n, 2n, 5n]);
        assert.ok((await client().listRuns({})).runs.some(({ name }) => name === run));
      });

      it("keeps what arrived of an upload that ended without finish, until it is aborted", async () => {
        const uploadId = randomUUID();
        async function* cut() {
          for await (const message of uploadMessages({ run, uploadId }, FILES)) {
            if (message.message.case === "finish") return;
            yield message;
          }
        }
        assert.equal(await reasonOf(() => client().upload(cut())), "MESSAGE_INVALID");
        assert.equal((await client().getRun({ run })).run?.commits, 2n);
        const { upload, files } = await client().getUpload({ uploadId });
        assert.deepEqual([upload?.uploadId, upload?.run, upload?.state], [uploadId, run, UploadState.OPEN]);
        const persisted = files.find(({ path }) => path === "dir/b.bin");
        assert.deepEqual(
          persisted?.spans.map(({ offset, length }) => [offset, length]),
          [[0n, BigInt(BIG.length)]],
        );
        assert.ok((await client().listUploads({})).uploads.some((each) => each.uploadId === uploadId));
        await client().abortUpload({ uploadId });
        assert.equal(await reasonOf(() => client().upload(uploadMessages({ run, uploadId }, FILES))), "UPLOAD_GONE");
      });

      it("names a reason, a code and metadata in each error", async () => {
        const error = await client()
          .download({ reference: { target: { case: "run", value: { name: "nobody" } } } })
          [Symbol.asyncIterator]()
          .next()
          .then(() => undefined, ConnectError.from);
        assert.ok(error);
        const { code, reason, metadata, message } = failureOf(error);
        assert.deepEqual([code, reason, metadata, message], [Code.NotFound, "RUN_NOT_FOUND", { run: "nobody" }, 'run "nobody" not found']);
        assert.equal(await reasonOf(() => client().listEntries({})), "REFERENCE_INVALID");
        assert.equal(await reasonOf(() => client().getRun({ run: "../x" })), "NAME_INVALID");
        assert.equal(await reasonOf(() => client().getRun({ project: "a b", run })), "NAME_INVALID");
      });

      it("tells what it is, collects garbage and deletes runs", async () => {
        const info = await client().getServerInfo({});
        assert.deepEqual([info.version, info.project, info.run, info.storeKind], ["0.0.0-test", "main", RUN, "memory"]);
        assert.equal((await all(client().collectGarbage({ dryRun: true }))).at(-1)?.done, true);
        assert.equal(await reasonOf(() => all(client().collectGarbage({ grace: { seconds: -1n } }))), "MESSAGE_INVALID");
        assert.deepEqual((await client().deleteRun({ run })).tags, []);
        assert.equal(await reasonOf(() => client().getRun({ run })), "RUN_NOT_FOUND");
      });

      it("answers with the request's id, and logs it", async () => {
        const requestId = `test-${id}-1`;
        let answered: string | null = null;
        await clientOf(server.url, { authorization: `Bearer ${TOKEN}`, "x-request-id": requestId }, transport).getServerInfo(
          {},
          { onHeader: (headers) => (answered = headers.get("x-request-id")) },
        );
        assert.equal(answered, requestId);
        assert.ok(server.log.some((line) => line["requestId"] === requestId && line["code"] === "ok"));
      });
    });
  }

  it("grpc-js", async () => {
    const client = createArtifactsClient(server.url.slice("http://".length), credentials.createInsecure());
    const metadata = new Metadata();
    metadata.set("authorization", `Bearer ${TOKEN}`);
    const reference = { target: { case: "run" as const, value: { name: "run-of-grpc-js" } } };
    try {
      const response = await new Promise<{ commit: bigint; bytes: bigint } | undefined>((resolve, reject) => {
        const call = client.upload(metadata, (error, answer) => (error ? reject(error) : resolve(answer)));
        void (async () => {
          for await (const message of uploadMessages({ run: "run-of-grpc-js" }, FILES)) call.write(message as never);
          call.end();
        })();
      });
      assert.deepEqual([response?.commit, response?.bytes], [1n, BYTES]);
      assert.deepEqual(await collect(client.download({ reference }, metadata)), AS_TEXT);
      const error = await new Promise<ServiceError | null>((resolve) => client.getRun({ run: "nobody" }, metadata, resolve));
      assert.deepEqual([error?.code, error?.details], [5, 'run "nobody" not found']);
      assert.equal(error?.metadata.get("grpc-status-details-bin").length, 1);
    } finally {
      client.close();
    }
  });

  it("puts uploads that name no run into the current one", async () => {
    assert.equal((await clientOf(server.url).upload(uploadMessages({}, { x: "1" }))).run, RUN);
  });

  it("answers an upload that was committed before without a second commit", async () => {
    const uploadId = randomUUID();
    const first = await clientOf(server.url).upload(uploadMessages({ run: "twice", uploadId }, { x: "1" }));
    const second = await clientOf(server.url).upload(uploadMessages({ run: "twice", uploadId }, { x: "1" }));
    assert.deepEqual([second.commit, second.files], [first.commit, first.files]);
    assert.equal((await clientOf(server.url).getRun({ run: "twice" })).run?.commits, 1n);
  });
});
