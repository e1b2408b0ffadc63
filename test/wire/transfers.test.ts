import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, constants } from "node:http2";
import { createConnection, createServer, type Socket } from "node:net";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { DownloadFinishSchema, DownloadRequestSchema, UploadResponseSchema } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { EntryHeaderSchema } from "../../gen/ts/dstack/artifacts/v1/entries_pb.ts";
import { createHttp2Transfers } from "../../src/client/transfers-http2.ts";
import { uploadCodec } from "../../src/wire/codec.ts";
import type { DownloadMessage, UploadMessage } from "../../src/wire/messages.ts";
import { failureOf, reasonDetail } from "../../src/wire/status.ts";
import { type Ends, startEnds } from "./ends.ts";
import { frame } from "./samples.ts";

const MIB = 1024 * 1024;

async function* batches(count: number, size = MIB): AsyncGenerator<readonly UploadMessage[]> {
  for (let i = 0; i < count; i++) {
    yield [
      { case: "file", value: create(EntryHeaderSchema, { path: `f${i}` }) },
      { case: "chunk", value: new Uint8Array(size).fill(i) },
    ];
  }
}

/** One buffer, written over as soon as the next batch is asked for. */
async function* overwritten(count: number): AsyncGenerator<readonly (UploadMessage & DownloadMessage)[]> {
  const buffer = new Uint8Array(3 * MIB);
  for (let i = 0; i < count; i++) yield [{ case: "chunk", value: buffer.fill(i) }];
}

/** Without end, until it is left. */
async function* endless(left: { yes?: boolean }): AsyncGenerator<readonly UploadMessage[]> {
  try {
    for (;;) yield [{ case: "chunk", value: new Uint8Array(MIB) }];
  } finally {
    left.yes = true;
  }
}

async function rejection(promise: Promise<unknown>): Promise<ConnectError> {
  const error = await promise.then(
    () => assert.fail("resolved"),
    (reason) => reason,
  );
  assert(error instanceof ConnectError, String(error));
  return error;
}

async function all(messages: AsyncIterable<readonly DownloadMessage[]>): Promise<DownloadMessage[]> {
  const result: DownloadMessage[] = [];
  for await (const batch of messages) result.push(...batch);
  return result;
}

describe("the hot path, both ends", () => {
  let ends: Ends;
  afterEach(() => ends.close());

  it("carries an upload's messages in order and its answer back", async () => {
    const paths: string[] = [];
    let bytes = 0;
    ends = await startEnds({
      async upload(messages) {
        for await (const batch of messages) {
          for (const message of batch) {
            if (message.case === "file") paths.push(message.value.path);
            if (message.case === "chunk") bytes += message.value.reduce((sum, byte) => sum + byte, 0);
          }
        }
        return create(UploadResponseSchema, { run: "r", commit: 7n });
      },
    });
    let sent = 0;
    const response = await ends.transfers.upload(batches(5, 300_000), { onSent: (more) => void (sent += more) });
    assert.equal(response.commit, 7n);
    assert.deepEqual(paths, ["f0", "f1", "f2", "f3", "f4"]);
    assert.equal(bytes, 300_000 * (1 + 2 + 3 + 4));
    assert(sent > 5 * 300_000);
  });

  it("carries a download's messages in order", async () => {
    ends = await startEnds({
      async *download(request) {
        assert.equal(request.path, "p");
        for (let i = 0; i < 20; i++) yield [{ case: "chunk", value: new Uint8Array(MIB + i).fill(i) }];
        yield [{ case: "finish", value: create(DownloadFinishSchema, { files: 3n }) }];
      },
    });
    const messages = await all(ends.transfers.download(create(DownloadRequestSchema, { path: "p" })));
    const last = messages.pop();
    assert(last?.case === "finish" && last.value.files === 3n);
    const received = Buffer.concat(messages.map((message) => (message.case === "chunk" ? message.value : assert.fail(message.case))));
    let at = 0;
    for (let i = 0; i < 20; i++) assert(received.subarray(at, (at += MIB + i)).every((byte) => byte === i));
    assert.equal(received.length, at);
  });

  it("moves much in both directions at once", async () => {
    ends = await startEnds({
      async upload(messages) {
        for await (const _ of messages);
        return create(UploadResponseSchema, { commit: 7n });
      },
      async *download() {
        for (let i = 0; i < 100; i++) yield [{ case: "chunk", value: new Uint8Array(MIB) }];
      },
    });
    const [response, messages] = await Promise.all([
      ends.transfers.upload(batches(100)),
      all(ends.transfers.download(create(DownloadRequestSchema))),
    ]);
    assert.equal(response.commit, 7n);
    assert.equal(
      messages.reduce((sum, message) => sum + (message.case === "chunk" ? message.value.length : 0), 0),
      100 * MIB,
    );
  });

  it("asks with long lists of held files beside downloads that run", async () => {
    ends = await startEnds({
      async *download({ held }) {
        for (let i = 0; i < (held.length > 0 ? 1 : 100); i++) yield [{ case: "chunk", value: new Uint8Array(MIB) }];
      },
    });
    const held = Array.from({ length: 600 }, (_, i) => ({ path: `${"x".repeat(100)}${i}`, length: 1n }));
    const requests = [...Array(2).fill([]), ...Array(12).fill(held)].map((list) => create(DownloadRequestSchema, { held: list }));
    const sizes = await Promise.all(requests.map(async (request) => (await all(ends.transfers.download(request))).length));
    assert.ok(sizes.every((size) => size > 0));
  });

  it("takes an answer while much of other uploads waits to be sent", async () => {
    let go = () => {};
    const gate = new Promise<void>((resolve) => (go = resolve));
    let begun = 0;
    ends = await startEnds({
      async upload(messages) {
        const isFirst = begun++ === 0;
        if (!isFirst) await gate;
        for await (const _ of messages) if (isFirst) break;
        return create(UploadResponseSchema, { commit: 7n });
      },
    });
    async function* one(): AsyncGenerator<readonly UploadMessage[]> {
      yield [{ case: "chunk", value: new Uint8Array(12 * MIB) }];
    }
    const uploads = Array.from({ length: 12 }, () => ends.transfers.upload(one()));
    assert.equal((await Promise.race(uploads)).commit, 7n);
    go();
    for (const upload of await Promise.all(uploads)) assert.equal(upload.commit, 7n);
  });

  it("goes on by another connection when the server takes no more calls on one", async () => {
    ends = await startEnds({ download: () => overwritten(1) });
    const sessions = new Set<unknown>();
    ends.server.prependListener("stream", (stream) => {
      if (sessions.size === 0) stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
      sessions.add(stream.session);
    });
    const refused = await rejection(all(ends.transfers.download(create(DownloadRequestSchema))));
    assert.equal(refused.code, Code.Unavailable);
    await all(ends.transfers.download(create(DownloadRequestSchema)));
    assert.equal(sessions.size, 2);
  });

  it("takes a message that is larger than what is read ahead, though its reader was busy", async () => {
    const targets: number[] = [];
    ends = await startEnds({
      async upload(messages) {
        for await (const batch of messages) {
          for (const message of batch) if (message.case === "file") targets.push(message.value.linkTarget.length);
          await new Promise((resolve) => setTimeout(resolve, 200));
        }
        return create(UploadResponseSchema);
      },
    });
    async function* messages(): AsyncGenerator<readonly UploadMessage[]> {
      for (const length of [1, 3 * MIB, 2]) yield [{ case: "file", value: create(EntryHeaderSchema, { linkTarget: "x".repeat(length) }) }];
    }
    await ends.transfers.upload(messages());
    assert.deepEqual(targets, [1, 3 * MIB, 2]);
  });

  it("keeps no packets of a message that isn't whole yet", async () => {
    ends = await startEnds({
      async upload(messages) {
        for await (const _ of messages);
        return create(UploadResponseSchema);
      },
    });
    const buffers = new Set<ArrayBufferLike>();
    let received = 0;
    ends.server.on("stream", (stream) =>
      stream.on("data", (bytes) => {
        received += bytes.length;
        buffers.add((bytes as Uint8Array).buffer);
      }),
    );
    const session = connect("http://localhost", { createConnection: () => createConnection(ends.socket) });
    const stream = session.request({
      ":path": "/dstack.artifacts.v1.ArtifactsService/Upload",
      ":method": "POST",
      "content-type": "application/grpc",
    });
    const message = uploadCodec.encode({ case: "file", value: create(EntryHeaderSchema, { linkTarget: "x".repeat(3 * MIB) }) });
    stream.write(frame(message).subarray(0, 2 * MIB));
    while (received < 2 * MIB) await new Promise((resolve) => setTimeout(resolve, 10));
    session.destroy();
    const kept = [...buffers].filter(({ byteLength }) => byteLength > 0).length;
    assert.ok(buffers.size > 20 && kept < 10, `${kept} of ${buffers.size}`);
  });

  it("ends both its connections", async () => {
    ends = await startEnds({ upload: async () => create(UploadResponseSchema), download: () => overwritten(1) });
    await ends.transfers.upload(batches(0));
    await all(ends.transfers.download(create(DownloadRequestSchema)));
    assert.equal(ends.sessions.size, 2);
    await ends.transfers.close();
    while (ends.sessions.size > 0) await new Promise((resolve) => setTimeout(resolve, 10));
  });

  it("has sent an upload's batch when it asks for the next one", async () => {
    const received: number[] = [];
    ends = await startEnds({
      async upload(messages) {
        for await (const batch of messages) {
          for (const message of batch) if (message.case === "chunk") received.push(...new Set(message.value));
          await new Promise(setImmediate);
        }
        return create(UploadResponseSchema);
      },
    });
    await ends.transfers.upload(overwritten(20));
    assert.deepEqual(
      [...new Set(received)],
      Array.from({ length: 20 }, (_, i) => i),
    );
  });

  it("gives an upload's memory back when the next batch is asked for, and never that of a stream beside it", async () => {
    let before: Uint8Array[] = [];
    let [received, freed] = [0, 0];
    ends = await startEnds({
      async upload(messages) {
        for await (const batch of messages) {
          freed += before.filter(({ length }) => length === 0).length;
          before = batch.flatMap((message) => (message.case === "chunk" ? [message.value] : []));
          for (const bytes of before) assert(bytes.every((byte) => byte === 1));
          received += before.reduce((sum, { length }) => sum + length, 0);
          await new Promise(setImmediate);
        }
        return create(UploadResponseSchema);
      },
    });
    const kept: Uint8Array[] = [];
    ends.server.on("stream", (stream, headers) => {
      if (headers[":path"] === "/kept") stream.on("data", (bytes) => void kept.push(bytes as Uint8Array));
    });
    const session = connect("http://localhost", { createConnection: () => createConnection(ends.socket) });
    const send = async (path: string, bytes: Uint8Array): Promise<void> => {
      const stream = session.request({ ":path": path, ":method": "POST", "content-type": "application/grpc" });
      for (let i = 0; i < 200; i++) if (!stream.write(bytes)) await once(stream, "drain");
      stream.end().resume();
      await once(stream, "close");
    };
    const chunk = frame(uploadCodec.encode({ case: "chunk", value: new Uint8Array(50_000).fill(1) }));
    await Promise.all([send("/dstack.artifacts.v1.ArtifactsService/Upload", chunk), send("/kept", new Uint8Array(15_000).fill(2))]);
    session.close();
    assert.equal(received, 200 * 50_000);
    assert(freed > 100, `${freed} chunks`);
    assert.equal(Buffer.concat(kept).length, 200 * 15_000);
    assert(kept.every((bytes) => bytes.every((byte) => byte === 2)));
  });

  it("has sent a download's batch when it asks for the next one", async () => {
    ends = await startEnds({ download: () => overwritten(20) });
    const received: number[] = [];
    for await (const batch of ends.transfers.download(create(DownloadRequestSchema))) {
      for (const message of batch) if (message.case === "chunk") received.push(...new Set(message.value));
      await new Promise(setImmediate);
    }
    assert.deepEqual(
      [...new Set(received)],
      Array.from({ length: 20 }, (_, i) => i),
    );
  });

  it("asks for no more of a download whose reader is gone, as its last batch may still be on its way", async () => {
    let asked = 0;
    let ended = () => {};
    const end = new Promise<void>((resolve) => (ended = resolve));
    ends = await startEnds({
      async *download() {
        try {
          for (let i = 0; i < 5; i++) {
            asked++;
            yield [{ case: "chunk", value: new Uint8Array(16 * MIB) }];
          }
        } finally {
          ended();
        }
      },
    });
    for await (const _ of ends.transfers.download(create(DownloadRequestSchema))) break;
    await end;
    assert.equal(asked, 1);
  });

  it("gives the server's error to a client that is still sending, and lets go of what it sends", async () => {
    ends = await startEnds({
      async upload(messages) {
        for await (const _ of messages)
          throw new ConnectError('tag "x" already exists — ü\n', Code.AlreadyExists, undefined, [reasonDetail("TAG_EXISTS", { tag: "x" })]);
        return assert.fail("nothing came");
      },
    });
    const left: { yes?: boolean } = {};
    const failure = failureOf(await rejection(ends.transfers.upload(endless(left))));
    assert.deepEqual(failure, {
      code: Code.AlreadyExists,
      message: 'tag "x" already exists — ü\n',
      reason: "TAG_EXISTS",
      metadata: { tag: "x" },
      retryAfterMs: undefined,
    });
    while (!left.yes) await new Promise(setImmediate);
  });

  it("gives an error to a client that is stuck in its own source", async () => {
    ends = await startEnds({
      async authorize() {
        throw new ConnectError("no", Code.Unauthenticated);
      },
    });
    async function* stuck(): AsyncGenerator<readonly UploadMessage[]> {
      await new Promise(() => {});
      yield [];
    }
    assert.equal((await rejection(ends.transfers.upload(stuck()))).code, Code.Unauthenticated);
    assert.equal((await rejection(all(ends.transfers.download(create(DownloadRequestSchema))))).code, Code.Unauthenticated);
  });

  it("gives a download what came before the error, and then the error", async () => {
    ends = await startEnds({
      async *download() {
        yield [{ case: "chunk", value: new Uint8Array(3 * MIB) }];
        throw new ConnectError("damaged", Code.DataLoss, undefined, [reasonDetail("DATA_DAMAGED", { path: "a" })]);
      },
    });
    let bytes = 0;
    const error = await rejection(
      (async () => {
        for await (const batch of ends.transfers.download(create(DownloadRequestSchema))) {
          for (const message of batch) if (message.case === "chunk") bytes += message.value.length;
        }
      })(),
    );
    assert.equal(bytes, 3 * MIB);
    assert.equal(failureOf(error).metadata.path, "a");
  });

  it("stops the sender at the windows while the server doesn't read", async () => {
    let go = () => {};
    const held = new Promise<void>((resolve) => {
      go = resolve;
    });
    ends = await startEnds({
      async upload(messages) {
        let batch = 0;
        for await (const _ of messages) if (batch++ === 0) await held;
        return create(UploadResponseSchema);
      },
    });
    let sent = 0;
    const uploading = ends.transfers.upload(batches(40), { onSent: (more) => void (sent += more) });
    // The window of the stream, and what both ends hold besides.
    let last = -1;
    for (let still = 0; still < 20; still = sent === last ? still + 1 : 0) {
      last = sent;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assert(sent > 0 && sent < 12 * MIB, `${sent} bytes`);
    go();
    await uploading;
    assert(sent >= 40 * MIB);
  });

  it("stops the server at the windows while the client doesn't read", async () => {
    let given = 0;
    ends = await startEnds({
      async *download() {
        for (let i = 0; i < 60; i++) {
          given++;
          yield [{ case: "chunk", value: new Uint8Array(MIB) }];
        }
      },
    });
    const messages = ends.transfers.download(create(DownloadRequestSchema))[Symbol.asyncIterator]();
    await messages.next();
    let last = -1;
    for (let still = 0; still < 20; still = given === last ? still + 1 : 0) {
      last = given;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assert(given < 16, `${given} MiB`);
    while (!(await messages.next()).done);
    assert.equal(given, 60);
  });

  it("tells the server of a cancelled upload, and the caller its reason", async () => {
    let serverSaw: unknown;
    const seen = new Promise<void>((resolve) => {
      void startEnds({
        async upload(messages, call) {
          call.signal.addEventListener("abort", () => {
            serverSaw = call.signal.reason;
            resolve();
          });
          for await (const _ of messages);
          return create(UploadResponseSchema);
        },
      }).then((started) => {
        ends = started;
        const controller = new AbortController();
        const reason = new Error("enough");
        const uploading = ends.transfers.upload(endless({}), { signal: controller.signal, onSent: () => controller.abort(reason) });
        return assert.rejects(uploading, (error) => error === reason);
      });
    });
    await seen;
    assert(serverSaw instanceof ConnectError && serverSaw.code === Code.Canceled);
  });

  it("frees the server's source when the client leaves a download", async () => {
    let freed = () => {};
    const done = new Promise<void>((resolve) => {
      freed = resolve;
    });
    ends = await startEnds({
      async *download() {
        try {
          for (;;) yield [{ case: "chunk", value: new Uint8Array(MIB) }];
        } finally {
          freed();
        }
      },
    });
    for await (const _ of ends.transfers.download(create(DownloadRequestSchema))) break;
    await done;
  });

  it("throws on what the source of an upload throws, and cancels the stream", async () => {
    let cancelled = () => {};
    const done = new Promise<void>((resolve) => {
      cancelled = resolve;
    });
    ends = await startEnds({
      async upload(messages, call) {
        call.signal.addEventListener("abort", cancelled);
        for await (const _ of messages);
        return create(UploadResponseSchema);
      },
    });
    async function* broken(): AsyncGenerator<readonly UploadMessage[]> {
      yield [{ case: "chunk", value: new Uint8Array(10) }];
      throw new RangeError("file changed");
    }
    await assert.rejects(ends.transfers.upload(broken()), RangeError);
    await done;
  });

  it("ends a call at its deadline", async () => {
    ends = await startEnds({ upload: () => new Promise(() => {}) });
    const error = await rejection(ends.transfers.upload(batches(1), { headers: { "grpc-timeout": "50m" } }));
    assert.equal(error.code, Code.DeadlineExceeded);
    assert.equal((await rejection(ends.transfers.upload(batches(1), { headers: { "grpc-timeout": "soon" } }))).code, Code.InvalidArgument);
  });

  it("fails a call as unavailable when the server goes away, and connects again for the next", async () => {
    ends = await startEnds({
      async upload(messages, call) {
        for await (const _ of messages) if (call.headers["x-die"]) call.stream.session?.destroy();
        return create(UploadResponseSchema, { run: "again" });
      },
    });
    const error = await rejection(ends.transfers.upload(endless({}), { headers: { "x-die": "1" } }));
    assert.equal(error.code, Code.Unavailable);
    assert.equal((await ends.transfers.upload(batches(1))).run, "again");
  });

  it("says that it can't connect, with the socket's error as the cause", async () => {
    ends = await startEnds({});
    const transfers = createHttp2Transfers({ url: `unix://${ends.socket}.none` });
    const error = await rejection(transfers.upload(batches(1)));
    assert.equal(error.code, Code.Unavailable);
    assert.equal((error.cause as NodeJS.ErrnoException).code, "ENOENT");
    await transfers.close();
  });

  it("notices a connection on which nothing comes back", async () => {
    ends = await startEnds({});
    const silent = createServer((socket: Socket) => void socket.resume());
    silent.listen(`${ends.socket}.silent`);
    await once(silent, "listening");
    const sockets: Socket[] = [];
    silent.on("connection", (socket) => void sockets.push(socket));
    const transfers = createHttp2Transfers({ url: `unix://${ends.socket}.silent` });
    const error = await rejection(transfers.upload(batches(1), { timeoutMs: 150 }));
    assert.equal(error.code, Code.Unavailable);
    assert.match(error.message, /no sign of life/);
    await transfers.close();
    for (const socket of sockets) socket.destroy();
    silent.close();
  });

  it("waits longer than the timeout for a server that is there but slow", async () => {
    ends = await startEnds({
      async upload(messages) {
        for await (const _ of messages);
        await new Promise((resolve) => setTimeout(resolve, 2_500));
        return create(UploadResponseSchema, { run: "slow" });
      },
    });
    assert.equal((await ends.transfers.upload(batches(1), { timeoutMs: 1_000 })).run, "slow");
  });

  it("leaves other content types, compression and methods alone", async () => {
    ends = await startEnds({});
    for (const headers of [
      { "content-type": "application/grpc+json" },
      { "grpc-encoding": "gzip" },
      { "content-type": "application/grpc-web" },
    ]) {
      assert.match((await rejection(ends.transfers.upload(batches(1), { headers }))).message, /HTTP status 404/);
    }
  });
});
