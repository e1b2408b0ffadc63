import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import fc from "fast-check";
import type { Artifacts, DownloadEvent, DownloadQuery, VerifyEvent } from "../../src/artifacts/types.ts";
import { openArtifacts } from "../../src/compose.ts";
import { crc32c } from "../../src/lib/crc32c.ts";
import { withFolder } from "../server/support.ts";
import { failsWith, PROJECT, type Servers, sendFile, servers, show, upload } from "../support/domain.ts";

const MIB = 1024 * 1024;
const content = Buffer.from(Array.from({ length: 3 * MIB + 777 }, (_, i) => (i * 31 + (i >> 7)) & 0xff));

async function events(artifacts: Artifacts, query: Partial<DownloadQuery> & Pick<DownloadQuery, "reference">): Promise<DownloadEvent[]> {
  const all: DownloadEvent[] = [];
  for await (const batch of artifacts.download({ project: PROJECT, ...query })) all.push(...batch);
  return all;
}

function joined(all: readonly DownloadEvent[]): Buffer {
  return Buffer.concat(all.flatMap((event) => (event.type === "chunk" ? [event.bytes] : [])));
}

// Flips a bit of the stored bytes, as a failing disk would.
function damage(all: Servers, matches: (key: string) => boolean, at: number): void {
  const key = all.store.keys.find(matches) as string;
  const object = all.store.byKey.get(key);
  assert.ok(object);
  const bytes = Buffer.from(object.bytes);
  bytes[at] = (bytes[at] as number) ^ 1;
  all.store.byKey.set(key, { ...object, bytes });
}

describe("a download", () => {
  it("tells the commit, then each entry with its bytes, then what it sent", async () => {
    const server = await servers().open();
    const session = await server.startUpload({ project: PROJECT, uploadId: randomUUID(), run: "r" });
    await session.file({ path: "d", type: "folder", mode: 0o4711, mtimeNs: 5n });
    await sendFile(session, "d/empty", "");
    await sendFile(session, "d/full", "bytes");
    await session.file({ path: "link", type: "link", linkTarget: "d/full", mtimeNs: 6n });
    await session.finish({ files: 3, bytes: 5 });
    const all = await events(server, { reference: { run: "r" } });
    const mtimeNs = 1_700_000_000_123_456_789n;
    assert.deepEqual(
      all.map((event) => (event.type === "chunk" ? { ...event, bytes: Buffer.from(event.bytes).toString() } : event)),
      [
        { type: "start", run: "r", commit: 1 },
        { type: "file", entry: { path: "d", type: "folder", mode: 0o711, mtimeNs: 5n }, offset: 0 },
        { type: "file", entry: { path: "d/empty", type: "file", size: 0, mode: 0o640, mtimeNs, crc32c: 0 }, offset: 0 },
        { type: "fileEnd", size: 0, crc32c: 0 },
        {
          type: "file",
          entry: { path: "d/full", type: "file", size: 5, mode: 0o640, mtimeNs, crc32c: crc32c(Buffer.from("bytes")) },
          offset: 0,
        },
        { type: "chunk", bytes: "bytes" },
        { type: "fileEnd", size: 5, crc32c: crc32c(Buffer.from("bytes")) },
        { type: "file", entry: { path: "link", type: "link", linkTarget: "d/full", mtimeNs: 6n }, offset: 0 },
        { type: "finish", files: 3, bytes: 5 },
      ],
    );
  });

  it("sees one commit from beginning to end, whatever is uploaded and deleted meanwhile", async () => {
    const server = await servers().open();
    await upload(server, { run: "r" }, { a: content, b: "old", c: "old" });
    const seen: Record<string, string> = {};
    let path = "";
    for await (const batch of server.download({ project: PROJECT, reference: { run: "r" } })) {
      for (const event of batch) {
        if (event.type === "start") {
          await upload(server, { run: "r" }, { b: "new", d: "new" });
          await server.deleteRun(PROJECT, "r");
        }
        if (event.type === "file") path = event.entry.path;
        if (event.type === "chunk" && path !== "a") seen[path] = Buffer.from(event.bytes).toString();
      }
    }
    assert.deepEqual(seen, { b: "old", c: "old" });
  });

  it("gives any range, checked, with the range's own checksum", async () => {
    const server = await servers().open({ settings: { dataObjectBytes: MIB + 12345 } });
    await upload(server, { run: "r" }, { before: "x", big: content });
    await fc.assert(
      fc.asyncProperty(
        fc.nat(content.length - 1),
        fc.option(fc.integer({ min: 1, max: content.length }), { nil: undefined }),
        async (offset, length) => {
          const range = length === undefined ? { offset } : { offset, length };
          const all = await events(server, { reference: { run: "r" }, path: "big", range });
          const expected = content.subarray(offset, length === undefined ? undefined : offset + length);
          assert.ok(joined(all).equals(expected));
          const end = all.find((event) => event.type === "fileEnd");
          assert.deepEqual(end, { type: "fileEnd", size: expected.length, crc32c: crc32c(expected) });
        },
      ),
      { numRuns: 40 },
    );
    for (const range of [{ offset: content.length }, { offset: 0, length: 0 }]) {
      await assert.rejects(events(server, { reference: { run: "r" }, path: "big", range }), failsWith("RANGE_INVALID"));
    }
  });

  it("leaves out what the client holds, and goes on behind a path", async () => {
    const server = await servers().open();
    await upload(server, { run: "r" }, { a: "1", b: content, c: "3", d: "4" });
    const all = await events(server, {
      reference: { run: "r" },
      startAfter: "a",
      endAt: "c",
      held: new Map([
        ["b", 2 * MIB + 5],
        ["c", 1],
      ]),
    });
    assert.deepEqual(
      all.flatMap((event) => (event.type === "file" ? [[event.entry.path, event.offset]] : [])),
      [
        ["b", 2 * MIB + 5],
        ["c", 1],
      ],
    );
    assert.ok(joined(all).equals(content.subarray(2 * MIB + 5)));
    const end = all.find((event) => event.type === "fileEnd");
    assert.deepEqual(end, { type: "fileEnd", size: content.length, crc32c: crc32c(content) });
  });

  it("fails, naming the file, when its stored bytes are damaged or gone", async () => {
    const all = servers();
    const server = await all.open();
    await upload(server, { run: "r" }, { big: content });
    damage(all, (key) => key.includes("/data/"), 2 * MIB + 1);
    await assert.rejects(
      events(server, { reference: { run: "r" } }),
      (error: Error) => failsWith("DATA_DAMAGED")(error) && /"big"/.test(error.message),
    );
    for (const key of [...all.store.keys]) if (key.includes("/data/")) all.store.remove(key);
    await assert.rejects(events(server, { reference: { run: "r" } }), failsWith("DATA_DAMAGED"));
  });

  it("reads neighbouring files in one request", async () => {
    const server = await servers().open();
    await upload(
      server,
      { run: "r" },
      Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`f${String(i).padStart(3, "0")}`, `content ${i}`])),
    );
    server.driver.calls.length = 0;
    await events(server, { reference: { run: "r" } });
    const reads = server.driver.calls.filter((call) => call.operation === "read" && call.key.includes("/data/"));
    assert.equal(reads.length, 1);
  });

  it("stops reading when its consumer leaves", async () => {
    const server = await servers().open({ settings: { dataObjectBytes: MIB } });
    await upload(server, { run: "r" }, { big: Buffer.concat([content, content, content, content, content, content]) });
    server.driver.calls.length = 0;
    for await (const batch of server.download({ project: PROJECT, reference: { run: "r" } })) {
      if (batch.some((event) => event.type === "chunk")) break;
    }
    const reads = server.driver.calls.filter((call) => call.operation === "read").length;
    assert.ok(reads < 12, `${reads} of 19 data objects were read`);
  });
});

describe("verifying", () => {
  async function verified(artifacts: Artifacts): Promise<VerifyEvent[]> {
    const all: VerifyEvent[] = [];
    for await (const event of artifacts.verify(PROJECT, { run: "r" })) if (event.type !== "progress") all.push(event);
    return all;
  }

  it("reads every byte, and names each damaged file", async () => {
    const all = servers();
    const server = await all.open();
    await upload(server, { run: "r" }, { a: "first", b: content, empty: "", z: "last" });
    assert.deepEqual(await verified(server), [{ type: "finish", files: 4, bytes: content.length + 9, damaged: 0 }]);
    damage(all, (key) => key.includes("/data/"), 2);
    const found = await verified(server);
    assert.deepEqual(
      found.map((event) => (event.type === "damaged" ? event.path : event)),
      ["a", { type: "finish", files: 4, bytes: content.length + 4, damaged: 1 }],
    );
  });

  const records: readonly [what: string, key: RegExp][] = [
    ["the run's log", /\/log\/r\//],
    ["an index", /\/manifest-0*1$/],
    ["a block", /\/manifest-0*0$/],
  ];
  for (const [what, pattern] of records) {
    it(`finds that ${what} is damaged, whatever the server has read before`, async () => {
      const all = servers();
      const server = await all.open();
      const files = Object.fromEntries(Array.from({ length: 5_000 }, (_, i) => [`folder/of-many-files/${10_000 + i}`, "x"]));
      await upload(server, { run: "r" }, { "a file": "x" });
      await upload(server, { run: "r" }, files);
      assert.deepEqual(await verified(server), [{ type: "finish", files: 5_001, bytes: 5_001, damaged: 0 }]);
      await show(server, { run: "r" });
      damage(all, (key) => pattern.test(key), 12);
      await assert.rejects(verified(server), /is damaged|isn't what was put/);
    });
  }
});

describe("a name or path that breaks the rules", () => {
  it("is refused, named, whatever asks for it", async () => {
    const server = await servers().open();
    await upload(server, { run: "r" }, { a: "1" });
    for (const name of ["", "-a", ".a", "a/b", "a b", "ä", "x".repeat(129), "a\n"]) {
      const refused = failsWith("NAME_INVALID");
      await assert.rejects(upload(server, { run: name }, { a: "1" }), refused);
      await assert.rejects(upload(server, { tag: name }, { a: "1" }), refused);
      await assert.rejects(upload(server, { project: name, run: "r" }, { a: "1" }), refused);
      await assert.rejects(show(server, { run: name }), refused);
      await assert.rejects(show(server, { tag: name }), refused);
      await assert.rejects(server.createTag(PROJECT, name, { run: "r" }), refused);
      await assert.rejects(server.deleteRun(PROJECT, name), refused);
      await assert.rejects(server.listRuns(name), refused);
    }
    for (const path of ["", ".", "/", "a//b", "../a", "a/..", "a\\b", "a\0", "a\u0007", `${"x".repeat(256)}`, "é/".repeat(400), "\ud800"]) {
      await assert.rejects(upload(server, { run: "r" }, { [path]: "1" }), failsWith("PATH_INVALID"));
    }
  });

  it("is refused in a link that leads out of the run", async () => {
    const server = await servers().open();
    const session = await server.startUpload({ project: PROJECT, uploadId: randomUUID(), run: "r" });
    for (const linkTarget of ["", "/etc/passwd", "../x", "a/../../x", "a\0"]) {
      await assert.rejects(async () => session.file({ path: "link", type: "link", linkTarget }), failsWith("PATH_INVALID"));
    }
    await session.file({ path: "d/link", type: "link", linkTarget: "../x" });
    await session.close();
  });
});

describe("memory that downloads use again", () => {
  const big = Buffer.from(Array.from({ length: 6 * 4 * MIB + 1 }, (_, i) => (i * 7 + (i >> 13)) & 0xff));
  const other = big.map((byte) => byte ^ 0xff);
  const query = { project: PROJECT, reference: { run: "r" } };

  it("holds a batch until the next one is asked for, and for good after the download was left", () =>
    withFolder(async (folder) => {
      const { artifacts } = await openArtifacts(folder);
      for (const [run, bytes] of Object.entries({ r: big, other })) {
        const session = await artifacts.startUpload({ project: PROJECT, uploadId: randomUUID(), run });
        await sendFile(session, "big", bytes);
        await session.finish({ files: 1, bytes: bytes.length });
      }
      // Read at once, in batches of which the last is smaller.
      const session = await artifacts.startUpload({ project: PROJECT, uploadId: randomUUID(), run: "many" });
      for (let i = 0; i < 40; i++) await sendFile(session, `f${10 + i}`, big.subarray(i * 64 * 1024, (i + 1) * 64 * 1024));
      await session.finish({ files: 40, bytes: 40 * 64 * 1024 });
      // Memory is kept for others while anybody downloads.
      const paused = artifacts.download(query)[Symbol.asyncIterator]();
      for (let i = 0; i < 2; i++) await paused.next();
      const kept: { bytes: Uint8Array; at: number }[] = [];
      for (const [run, batches] of [
        ["r", 1],
        ["r", 2],
        ["r", 4],
        ["many", 3],
      ] as const) {
        let at = 0;
        let seen = 0;
        for await (const batch of artifacts.download({ ...query, reference: { run } })) {
          const chunks = batch.flatMap((event) => (event.type === "chunk" ? [event.bytes] : []));
          const last = seen++ === batches;
          for (const bytes of chunks) {
            assert.ok(big.subarray(at, at + bytes.length).equals(bytes));
            if (last) kept.push({ bytes, at });
            at += bytes.length;
          }
          if (last) break;
        }
      }
      assert.equal(kept.length, 3 + 8);
      for (let i = 0; i < 3; i++) assert.ok(Buffer.concat(await copies(artifacts)).equals(other));
      for (const { bytes, at } of kept) assert.ok(big.subarray(at, at + bytes.length).equals(bytes));
      await paused.return?.();
      await artifacts.close();
    }));

  async function copies(artifacts: Artifacts): Promise<Buffer[]> {
    const parts: Buffer[] = [];
    for await (const batch of artifacts.download({ ...query, reference: { run: "other" } })) {
      for (const event of batch) if (event.type === "chunk") parts.push(Buffer.from(event.bytes));
    }
    return parts;
  }
});
