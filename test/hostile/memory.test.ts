import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { request as requestHttp1 } from "node:http";
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import { DownloadRequestSchema, UploadRequestSchema } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { EntryType } from "../../gen/ts/dstack/artifacts/v1/entries_pb.ts";
import { crc32c } from "../../src/lib/crc32c.ts";
import { clientOf, frame, openCall, reasonOf, say, TOKEN, toRun, until } from "../server/support.ts";
import { idleConnections, LONG, type MeasuredServer, MIB, othersAreServed, withServer } from "./memory.ts";

/** One big file of one run: 256 MiB, in the long form a whole 1 GiB. */
const BIG = (LONG ? 1_024 : 256) * MIB;
const CHUNK = Buffer.alloc(MIB, "0123456789abcdef");
/** What the server may take in all while bytes move or stand still. */
const WHOLE_LIMIT = 250 * MIB;
const X_CRC = crc32c(Buffer.from("x"));
const mib = (bytes: number) => Math.round(bytes / MIB);

async function* bigFile(run: string, bytes: number) {
  yield say("start", { uploadId: randomUUID(), target: { case: "run", value: run } });
  yield say("file", { path: "big", type: EntryType.FILE });
  for (let at = 0; at < bytes; at += CHUNK.length) yield say("chunk", CHUNK);
  yield say("fileEnd", { size: BigInt(bytes), crc32c: crcOfChunks(bytes / CHUNK.length) });
  yield say("finish", { files: 1n, bytes: BigInt(bytes) });
}

function crcOfChunks(count: number): number {
  let crc = 0;
  for (let i = 0; i < count; i++) crc = crc32c(CHUNK, crc);
  return crc;
}

/** An upload by hand, of which the test decides when it stops. */
function begin(session: ClientHttp2Session, run: string): ClientHttp2Stream {
  const { stream } = openCall(session, "Upload");
  stream.write(encode(say("start", { uploadId: randomUUID(), target: { case: "run", value: run } })));
  return stream;
}

const encode = (message: ReturnType<typeof say>) => frame(toBinary(UploadRequestSchema, create(UploadRequestSchema, message as never)));

async function writeAll(stream: ClientHttp2Stream, bytes: Uint8Array): Promise<void> {
  if (stream.destroyed || stream.write(bytes)) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      stream.off("drain", done).off("close", done);
      resolve();
    };
    stream.on("drain", done).on("close", done);
  });
}

/** The same by gRPC-Web in HTTP/1.1, which connect serves. */
async function stalledReadersOfHttp1(url: string, count: number): Promise<{ destroy(): void }[]> {
  const body = frame(toBinary(DownloadRequestSchema, create(DownloadRequestSchema, { reference: toRun("big") })));
  const requests: { destroy(): void }[] = [];
  for (let i = 0; i < count; i++) {
    const headers = { authorization: `Bearer ${TOKEN}`, "content-type": "application/grpc-web+proto" };
    const request = requestHttp1(`${url}/dstack.artifacts.v1.ArtifactsService/Download`, { method: "POST", headers, agent: false });
    request.on("error", () => {}).end(body);
    requests.push(request);
    const [response] = await once(request, "response");
    await once(response, "data");
    response.pause();
  }
  return requests;
}

/** Downloads whose readers take the first bytes and then no more. */
async function stalledReaders(url: string, count: number): Promise<ClientHttp2Session[]> {
  const request = frame(toBinary(DownloadRequestSchema, create(DownloadRequestSchema, { reference: toRun("big") })));
  const sessions: ClientHttp2Session[] = [];
  for (let i = 0; i < count; i++) {
    const session = connectHttp2(url, { settings: { initialWindowSize: 65_535 } });
    session.on("error", () => {});
    sessions.push(session);
    const { stream } = openCall(session, "Download");
    stream.end(request);
    await once(stream, "data");
    stream.pause();
  }
  return sessions;
}

describe("the server's memory", function () {
  this.timeout(LONG ? 600_000 : 60_000);

  const inServer = (what: string, test: (server: MeasuredServer) => Promise<void>) => it(what, () => withServer(test));

  inServer(`stays small while ${BIG / MIB} MiB go up, come down, and stand still`, async ({ url, peakDuring }) => {
    const up = await peakDuring(() => clientOf(url).upload(bigFile("big", BIG)));
    const down = await peakDuring(async () => {
      for await (const _ of clientOf(url).download({ reference: toRun("big") }));
    });
    const still = await peakDuring(async () => {
      const sessions = await stalledReaders(url, 1);
      const session = connectHttp2(url);
      session.on("error", () => {});
      sessions.push(session);
      const stream = begin(session, "slow");
      await writeAll(stream, encode(say("file", { path: "f", type: EntryType.FILE })));
      for (let i = 0; i < 40; i++) await writeAll(stream, encode(say("chunk", CHUNK)));
      await new Promise((resolve) => setTimeout(resolve, 500));
      for (const each of sessions) each.destroy();
    });
    console.log(`      up ${mib(up)}, down ${mib(down)}, still ${mib(still)} MiB`);
    for (const peak of [up, down, still]) assert.ok(peak < WHOLE_LIMIT, `${mib(peak)} MiB`);
  });

  const idle = LONG ? 5_000 : 500;
  inServer(`grows by at most ${(200 * idle) / 5_000} MiB for ${idle} idle connections`, async ({ url, memory }) => {
    const before = await memory();
    const connections = await idleConnections(url, idle);
    const cost = (await memory()) - before;
    await othersAreServed(url);
    console.log(`      ${mib(cost)} MiB`);
    // A process grows by steps: some of them would come without the connections, too.
    assert.ok(cost <= (200 * MIB * idle) / 5_000 + (LONG ? 0 : 10 * MIB), `${mib(cost)} MiB`);
    connections.close();
  });

  inServer("grows by at most 128 MiB for 64 readers that stall", async ({ url, memory, peakDuring }) => {
    await clientOf(url).upload(bigFile("big", 64 * MIB));
    const before = await memory();
    let sessions: ClientHttp2Session[] = [];
    const peak = await peakDuring(async () => {
      sessions = await stalledReaders(url, 64);
      await new Promise((resolve) => setTimeout(resolve, 500));
      await othersAreServed(url);
    });
    console.log(`      ${mib(peak - before)} MiB`);
    assert.ok(peak - before <= 128 * MIB, `${mib(peak - before)} MiB`);
    for (const session of sessions) session.destroy();
  });

  inServer("grows by at most 12 MiB for each of 16 readers that stall in HTTP/1.1", async ({ url, memory, peakDuring }) => {
    await clientOf(url).upload(bigFile("big", 64 * MIB));
    const before = await memory();
    let requests: { destroy(): void }[] = [];
    const peak = await peakDuring(async () => {
      requests = await stalledReadersOfHttp1(url, 16);
      await new Promise((resolve) => setTimeout(resolve, 500));
      await othersAreServed(url);
    });
    console.log(`      ${mib(peak - before)} MiB`);
    assert.ok(peak - before <= 16 * 12 * MIB, `${mib(peak - before)} MiB`);
    for (const request of requests) request.destroy();
  });

  inServer("grows by at most 8 MiB for each of 64 writers that send what they may and stall", async ({ url, memory, peakDuring }) => {
    const before = await memory();
    const sessions: ClientHttp2Session[] = [];
    const peak = await peakDuring(async () => {
      for (let i = 0; i < 64; i++) {
        const session = connectHttp2(url);
        session.on("error", () => {});
        sessions.push(session);
        const stream = begin(session, `slow-${i}`);
        await writeAll(stream, encode(say("file", { path: "f", type: EntryType.FILE })));
        for (let k = 0; k < 6; k++) stream.write(encode(say("chunk", CHUNK)));
      }
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      await othersAreServed(url);
    });
    console.log(`      ${mib(peak - before)} MiB`);
    assert.ok(peak - before <= 64 * 8 * MIB, `${mib(peak - before)} MiB`);
    for (const session of sessions) session.destroy();
  });

  /** Messages that cost more to hold than to send. */
  const TINY: Readonly<Record<string, () => Buffer>> = {
    "chunks of one byte": () => encode(say("chunk", Buffer.from("x"))),
    "chunks of no byte": () => encode(say("chunk", Buffer.alloc(0))),
    "headers of the same file": () => encode(say("file", { path: "f", type: EntryType.FILE, try: 1 })),
  };
  for (const [what, make] of Object.entries(TINY)) {
    inServer(`stays within its bound for ${what}, millions of them`, async ({ url, peakDuring }) => {
      const many = Buffer.concat(Array.from({ length: 20_000 }, make));
      const peak = await peakDuring(async () => {
        const session = connectHttp2(url);
        session.on("error", () => {});
        const stream = begin(session, "tiny");
        await writeAll(stream, encode(say("file", { path: "f", type: EntryType.FILE })));
        for (let i = 0; i < 100; i++) await writeAll(stream, many);
        await othersAreServed(url);
        session.destroy();
      });
      console.log(`      ${mib(peak)} MiB`);
      assert.ok(peak < WHOLE_LIMIT, `${mib(peak)} MiB`);
    });
  }

  const tinyFiles = LONG ? 1_000_000 : 100_000;
  inServer(`stays within its bound for ${tinyFiles} files of one byte`, async ({ url, peakDuring }) => {
    const peak = await peakDuring(async () => {
      const session = connectHttp2(url);
      session.on("error", () => {});
      const stream = begin(session, "tiny");
      for (let i = 0; i < tinyFiles / 1_000; i++) {
        const files = Array.from({ length: 1_000 }, (_, k) => [
          encode(say("file", { path: `folder-${i}/file-${k}`, type: EntryType.FILE, size: 1n })),
          encode(say("chunk", Buffer.from("x"))),
          encode(say("fileEnd", { size: 1n, crc32c: X_CRC })),
        ]);
        await writeAll(stream, Buffer.concat(files.flat()));
      }
      session.destroy();
    });
    console.log(`      ${mib(peak)} MiB`);
    assert.ok(peak < WHOLE_LIMIT, `${mib(peak)} MiB`);
  });

  inServer("is given back when thousands of peers come and go", async ({ url, memory }) => {
    for (let round = 0; round < (LONG ? 20 : 4); round++) {
      const connections = await idleConnections(url, 250);
      connections.close();
    }
    await until("they are gone", async () => (await memory()) < WHOLE_LIMIT);
    assert.equal(await reasonOf(() => clientOf(url).getServerInfo({})), "nothing failed");
  });
});
