import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import { EntryType } from "../../gen/ts/dstack/artifacts/v1/entries_pb.ts";
import { openArtifacts } from "../../src/compose.ts";
import { crc32c } from "../../src/lib/crc32c.ts";
import {
  all,
  clientOf,
  collect,
  failureFrom,
  reasonOf,
  startTestServer,
  type TestServer,
  toRun,
  toTag,
  uploadMessages,
  withFolder,
} from "./support.ts";

const BIG = Buffer.alloc(2 * 1024 * 1024 + 5, "0123456789");
const FILES = { a: "hello", "b/c": "there", "b/d": "", big: BIG, "b.x": "dot" };
const RUN = "run";
const reference = toRun(RUN);
const WAYS = ["gRPC", "gRPC with JSON", "gRPC-Web over HTTP/1.1", "Connect over HTTP/2"];

/** Parts of one file, and what they must bring. */
const RANGES: readonly [offset: bigint, length: bigint | undefined, text: string][] = [
  [0n, undefined, "hello"],
  [0n, 1n, "h"],
  [1n, 3n, "ell"],
  [4n, undefined, "o"],
  [2n, 100n, "llo"],
  [0n, 2n ** 53n - 1n, "hello"],
];
const NO_RANGES: readonly [offset: bigint, length: bigint | undefined, path: string, reason: string][] = [
  [5n, undefined, "a", "RANGE_INVALID"],
  [0n, 0n, "a", "RANGE_INVALID"],
  [0n, undefined, "b/d", "RANGE_INVALID"],
  [0n, undefined, "b", "RANGE_INVALID"],
  [0n, undefined, "", "RANGE_INVALID"],
  [2n ** 64n - 1n, undefined, "a", "MESSAGE_INVALID"],
  [0n, 2n ** 64n - 1n, "a", "MESSAGE_INVALID"],
];

describe("downloads from a folder, whose bytes are read into memory that is used again", () => {
  const content = randomBytes(24 * 1024 * 1024 + 321);
  for (const way of WAYS) {
    it(`give what is stored to all who read at once, while some pause and others leave: ${way}`, () =>
      withFolder(async (folder) => {
        const { artifacts } = await openArtifacts(folder);
        await using server = await startTestServer({ artifacts, storeKind: "file" });
        await clientOf(server.url).upload(uploadMessages({ run: RUN }, { content }));
        const read = async (pause: number, leaveAfter: number) => {
          let at = 0;
          for await (const { message } of clientOf(server.url, undefined, way).download({ reference })) {
            if (message.case !== "chunk") continue;
            assert.ok(content.subarray(at, at + message.value.length).equals(message.value), `other bytes from byte ${at}`);
            at += message.value.length;
            if (at > leaveAfter) return;
            if (pause > 0) await setTimeout(pause);
          }
          assert.equal(at, content.length);
        };
        const whole = Number.POSITIVE_INFINITY;
        const leaver = async () => {
          for (const leaveAfter of [0, 5e6, 9e6, 1e6]) await read(0, leaveAfter);
        };
        await Promise.all([read(0, whole), read(2, whole), read(5, whole), leaver(), leaver()]);
        await read(0, whole);
      }));
  }
});

describe("a download", () => {
  let server: TestServer;
  before(async () => {
    server = await startTestServer();
    await clientOf(server.url).upload(uploadMessages({ run: RUN }, FILES));
    await clientOf(server.url).createTag({ run: RUN, tag: "tag", path: "b" });
  });
  after(() => server[Symbol.asyncDispose]());

  for (const way of WAYS) {
    describe(way, () => {
      const client = () => clientOf(server.url, undefined, way);
      const paths = async (request: object) => Object.keys(await collect(client().download({ reference, ...request })));

      it("begins with the run and its commit, sends each file whole and in order, and ends with its counts", async () => {
        const messages = (await all(client().download({ reference }))).map(({ message }) => message);
        const first = messages[0];
        assert.deepEqual(first?.case === "start" && [first.value.run, first.value.commit], [RUN, 1n]);
        const last = messages.at(-1);
        const total = Object.values(FILES).reduce((sum, text) => sum + text.length, 0);
        assert.deepEqual(last?.case === "finish" && [last.value.files, last.value.bytes], [5n, BigInt(total)]);
        const headers = messages.flatMap((each) => (each.case === "file" ? [each.value] : []));
        assert.deepEqual(
          headers.map(({ path, type, size }) => [path, type, size]),
          [
            ["a", EntryType.FILE, 5n],
            ["b/c", EntryType.FILE, 5n],
            ["b/d", EntryType.FILE, 0n],
            ["b.x", EntryType.FILE, 3n],
            ["big", EntryType.FILE, BigInt(BIG.length)],
          ],
        );
        assert.equal(headers.at(-1)?.crc32c, crc32c(BIG));
        const chunks = messages.flatMap((each) => (each.case === "chunk" ? [each.value.length] : []));
        assert.ok(Math.max(...chunks) <= 1024 * 1024);
        const ends = messages.flatMap((each) => (each.case === "fileEnd" ? [[each.value.size, each.value.crc32c]] : []));
        assert.deepEqual(ends.at(-1), [BigInt(BIG.length), crc32c(BIG)]);
      });

      for (const [offset, length, text] of RANGES) {
        it(`gives ${length ?? "all"} bytes from ${offset}: ${text}`, async () => {
          const range = length === undefined ? { offset } : { offset, length };
          const messages = (await all(client().download({ reference, path: "a", range }))).map(({ message }) => message);
          const header = messages.find((each) => each.case === "file")?.value as { offset: bigint; size: bigint };
          assert.deepEqual([header.offset, header.size], [offset, 5n]);
          const end = messages.find((each) => each.case === "fileEnd")?.value as { size: bigint; crc32c: number };
          assert.deepEqual([end.size, end.crc32c], [BigInt(text.length), crc32c(Buffer.from(text))]);
          assert.equal((await collect(client().download({ reference, path: "a", range })))["a"], text);
        });
      }
      for (const [offset, length, path, reason] of NO_RANGES) {
        it(`refuses ${length ?? "all"} bytes from ${offset} of ${JSON.stringify(path)}: ${reason}`, async () => {
          const range = length === undefined ? { offset } : { offset, length };
          assert.equal(await reasonOf(() => all(client().download({ reference, path, range }))), reason);
        });
      }
      it("gives a range over the boundaries of chunks", async () => {
        const range = { offset: 1024n * 1024n - 2n, length: 5n };
        const text = BIG.toString("utf8", 1024 * 1024 - 2, 1024 * 1024 + 3);
        assert.equal((await collect(client().download({ reference, path: "big", range })))["big"], text);
      });

      it("takes up where another stopped, and stops where it is told, in the order of the paths", async () => {
        assert.deepEqual(await paths({ startAfter: "b/c" }), ["b/d", "b.x", "big"]);
        assert.deepEqual(await paths({ startAfter: "a" }), ["b/c", "b/d", "b.x", "big"]);
        assert.deepEqual(await paths({ endAt: "b/c" }), ["a", "b/c"]);
        assert.deepEqual(await paths({ startAfter: "a", endAt: "b/d" }), ["b/c", "b/d"]);
        assert.deepEqual(await paths({ startAfter: "zzz" }), []);
        assert.deepEqual(await paths({ startAfter: "b", endAt: "a" }), []);
        assert.deepEqual(await paths({ path: "b", startAfter: "b/c" }), ["b/d"]);
        assert.deepEqual(await paths({ startAfter: "b.w/no such path\n\0" }), ["b.x", "big"]);
      });

      it("leaves out what the client holds", async () => {
        const held = [
          { path: "a", length: 2n },
          { path: "b/c", length: 5n },
          { path: "b.x", length: 2n ** 53n - 1n },
          { path: "no/such", length: 7n },
        ];
        const found = await collect(client().download({ reference, held }));
        assert.deepEqual([found["a"], found["b/c"], found["b.x"], found["big"]?.length], ["llo", "", "", BIG.length]);
        const messages = (await all(client().download({ reference, path: "a", held }))).map(({ message }) => message);
        const header = messages.find((each) => each.case === "file")?.value as { offset: bigint };
        const end = messages.find((each) => each.case === "fileEnd")?.value as { size: bigint; crc32c: number };
        assert.deepEqual([header.offset, end.size, end.crc32c], [2n, 5n, crc32c(Buffer.from("hello"))]);
      });

      it("refuses more held files than 10,000, a range and held files together, and lengths past all numbers", async () => {
        const many = Array.from({ length: 10_001 }, (_, i) => ({ path: `f${i}`, length: 1n }));
        assert.equal(await reasonOf(() => all(client().download({ reference, held: many }))), "MESSAGE_INVALID");
        assert.deepEqual((await paths({ held: many.slice(1) })).length, 5);
        const both = { reference, path: "a", range: { offset: 0n }, held: [{ path: "a", length: 1n }] };
        assert.equal(await reasonOf(() => all(client().download(both))), "MESSAGE_INVALID");
        assert.equal(
          await reasonOf(() => all(client().download({ reference, held: [{ path: "a", length: 2n ** 63n }] }))),
          "MESSAGE_INVALID",
        );
      });

      it("shows of a tag only its path, and matches whole segments", async () => {
        assert.deepEqual(Object.keys(await collect(client().download({ reference: toTag("tag") }))), ["b/c", "b/d"]);
        const { reason, metadata } = await failureFrom(() => all(client().download({ reference: toTag("tag"), path: "a" })));
        assert.deepEqual([reason, metadata], ["PATH_NOT_FOUND", { path: "a", tag: "tag" }]);
        assert.equal(await reasonOf(() => all(client().download({ reference, path: "bi" }))), "PATH_NOT_FOUND");
      });

      it("lists in pages that keep to the first one's commit", async () => {
        const names: string[] = [];
        let pageToken = "";
        do {
          const page = await client().listEntries({ reference, recursive: true, pageSize: 2, pageToken });
          assert.deepEqual([page.totalFiles, page.run, page.commit], [5n, RUN, 1n]);
          assert.ok(page.entries.length <= 2);
          names.push(...page.entries.map(({ path }) => path));
          pageToken = page.nextPageToken;
        } while (pageToken !== "");
        assert.deepEqual(names, ["a", "b/c", "b/d", "b.x", "big"]);
        const level = await client().listEntries({ reference });
        assert.deepEqual(
          level.entries.map(({ path }) => path),
          ["a", "b", "b.x", "big"],
        );
      });
    });
  }

  it("refuses tokens of pages that it didn't give", async () => {
    const client = clientOf(server.url);
    await client.upload(uploadMessages({ run: "other" }, { x: "1", y: "2" }));
    const foreign = (await client.listEntries({ reference: toRun("other"), pageSize: 1 })).nextPageToken;
    assert.notEqual(foreign, "");
    const forged = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
    for (const pageToken of [
      foreign,
      "!",
      "AAAA",
      `${foreign}=`,
      forged({ run: RUN, seq: -1, after: "" }),
      forged({ run: RUN, seq: 1.5, after: "" }),
      forged({ run: RUN, seq: 1, after: 7 }),
      forged([]),
      Buffer.from("null").toString("base64url"),
    ]) {
      assert.equal(await reasonOf(() => client.listEntries({ reference, pageToken })), "PAGE_TOKEN_INVALID", pageToken);
    }
    // Well made, but of a commit that isn't there.
    assert.equal(
      await reasonOf(() => client.listEntries({ reference, pageToken: forged({ run: RUN, seq: 99, after: "a" }) })),
      "COMMIT_NOT_FOUND",
    );
  });

  it("pages runs and tags", async () => {
    const client = clientOf(server.url);
    const project = "paged";
    for (const run of ["r1", "r2", "r3"]) {
      await client.upload(uploadMessages({ run, project }, { x: run }));
      await client.createTag({ project, run, tag: `of-${run}` });
    }
    const first = await client.listRuns({ project, pageSize: 2 });
    assert.deepEqual(
      first.runs.map(({ name, tags }) => [name, tags]),
      [
        ["r1", ["of-r1"]],
        ["r2", ["of-r2"]],
      ],
    );
    const second = await client.listRuns({ project, pageSize: 2, pageToken: first.nextPageToken });
    assert.deepEqual([second.runs.map(({ name }) => name), second.nextPageToken], [["r3"], ""]);
    const tags = await client.listTags({ project, pageSize: 2 });
    assert.deepEqual(
      tags.tags.map(({ name }) => name),
      ["of-r1", "of-r2"],
    );
    assert.deepEqual(
      (await client.listTags({ project, pageSize: 2, pageToken: tags.nextPageToken })).tags.map(({ name }) => name),
      ["of-r3"],
    );
  });
});
