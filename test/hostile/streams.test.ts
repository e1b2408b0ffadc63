import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import { type UploadRequest, UploadRequestSchema } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { EntryType } from "../../gen/ts/dstack/artifacts/v1/entries_pb.ts";
import { nameProblem } from "../../src/lib/names.ts";
import { pathProblem, trimPath } from "../../src/lib/paths.ts";
import {
  all,
  clientOf,
  collect,
  failureFrom,
  frame,
  rawCall,
  reasonOf,
  say,
  startTestServer,
  statusOf,
  stream,
  type TestServer,
  toRun,
  uploadMessages,
  withSession,
} from "../server/support.ts";
import { createRandom, damage, hostileName } from "./fuzz.ts";
import { LONG } from "./memory.ts";

const SEED = Number(process.env["DSTACK_ARTIFACTS_HOSTILE_SEED"] ?? Date.now() % 2 ** 31);
const NAMES = LONG ? 10_000 : 1_000;
const STREAMS = LONG ? 20_000 : 1_000;
/** Of all trailers together: what gRPC's clients take. */
const MAX_TRAILER_BYTES = 8 * 1024;

describe("hostile words", function () {
  this.timeout(LONG ? 600_000 : 60_000);
  let server: TestServer;
  before(async () => {
    server = await startTestServer();
    await clientOf(server.url).upload(uploadMessages({ run: "source" }, { f: "1" }));
  });
  after(() => server[Symbol.asyncDispose]());

  it(`are refused by their rule or kept as they are: ${NAMES} paths`, async () => {
    const random = createRandom(SEED);
    const client = clientOf(server.url);
    const kept = new Map<string, string>();
    for (let i = 0; i < NAMES; i++) {
      const path = hostileName(random).toWellFormed();
      const trimmed = trimPath(path);
      const problem = pathProblem(trimmed);
      if (problem === undefined) {
        if (![...kept.keys()].some((other) => other === trimmed || other.startsWith(`${trimmed}/`) || trimmed.startsWith(`${other}/`)))
          kept.set(trimmed, path);
        continue;
      }
      const start = say("start", { uploadId: randomUUID(), target: { case: "run", value: "refused" } });
      const failure = await failureFrom(() => client.upload(stream([start, say("file", { path, type: EntryType.FILE })])));
      assert.deepEqual(
        [failure.reason, failure.message.includes(problem)],
        ["PATH_INVALID", true],
        `seed ${SEED}: ${JSON.stringify(path)}: ${failure.message}`,
      );
      assert.doesNotMatch(failure.message, /\p{Cc}/u, "a message is one line, without control characters");
    }
    assert.equal(await reasonOf(() => client.getRun({ run: "refused" })), "RUN_NOT_FOUND");
    await client.upload(uploadMessages({ run: "kept" }, Object.fromEntries([...kept.values()].map((path) => [path, path]))));
    const found = await collect(client.download({ reference: toRun("kept") }));
    assert.deepEqual(Object.keys(found).sort(), [...kept.keys()].sort());
    for (const [trimmed, path] of kept) assert.equal(found[trimmed], path, `seed ${SEED}`);
    const listed = await client.listEntries({ reference: toRun("kept"), recursive: true, pageSize: 10_000 });
    assert.deepEqual(listed.entries.map(({ path }) => path).sort(), [...kept.keys()].sort());
  });

  it(`name no run, tag or project that isn't a name: ${NAMES} of them, in answers that every client can take`, async () => {
    const random = createRandom(SEED + 1);
    const client = clientOf(server.url);
    await withSession(server.url, async (session) => {
      for (let i = 0; i < NAMES; i++) {
        const name = hostileName(random).toWellFormed();
        if (nameProblem(name) === undefined || name === "") continue;
        const calls = [
          () => client.getRun({ run: name }),
          () => client.getTag({ tag: name }),
          () => client.listRuns({ project: name }),
          () => all(client.download({ reference: toRun(name) })),
        ];
        assert.equal(
          await reasonOf(calls[i % calls.length] as () => Promise<unknown>),
          "NAME_INVALID",
          `seed ${SEED + 1}: ${JSON.stringify(name)}`,
        );
        const start = say("start", { uploadId: randomUUID(), target: { case: "tag", value: name } });
        const { headers, trailers } = await rawCall(session, "Upload", encode(start));
        const size = Object.entries({ ...headers, ...trailers }).reduce(
          (sum, [key, value]) => sum + key.length + String(value).length + 32,
          0,
        );
        assert.ok(size <= MAX_TRAILER_BYTES, `seed ${SEED + 1}: ${size} bytes for ${JSON.stringify(name)}`);
      }
    });
  });

  it(`as bytes of a stream end in a status, and leave the server as it was: ${STREAMS} uploads`, async () => {
    const random = createRandom(SEED + 2);
    const valid = () =>
      Buffer.concat(
        [
          say("start", { uploadId: randomUUID(), target: { case: "run", value: "fuzzed" } }),
          say("file", { path: "a", type: EntryType.FILE, size: 3n }),
          say("chunk", Buffer.from("abc")),
          say("fileEnd", { size: 3n, crc32c: 1 }),
          say("finish", { files: 1n, bytes: 3n }),
        ].map(encode),
      );
    await withSession(server.url, async (session) => {
      for (let i = 0; i < STREAMS; i++) {
        const bytes = damage(valid(), random);
        const method = ["Upload", "Download", "GetRun", "Verify"][random(4)] as string;
        const answer = statusOf(await rawCall(session, method, bytes));
        const faults = server.log.filter(({ level }) => Number(level) >= 50);
        assert.ok(
          answer.status > 0 && answer.reason !== "INTERNAL" && faults.length === 0,
          `seed ${SEED + 2}: ${method} ${bytes.toString("hex")}: ${JSON.stringify([answer, ...faults])}`,
        );
      }
    });
    assert.equal(await reasonOf(() => clientOf(server.url).getServerInfo({})), "nothing failed");
  });
});

function encode(message: { message: UploadRequest["message"] }): Buffer {
  return frame(toBinary(UploadRequestSchema, create(UploadRequestSchema, message)));
}
