import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import { crc32c } from "../../src/lib/crc32c.ts";
import { bytesOf, countsOf, failsWith, PROJECT, runNames, sendFile, servers, show, upload } from "../support/domain.ts";
import { failing, holdFirst, puts } from "../support/intercepted-driver.ts";

const LOG = /\/log\//;
const TAG = /\/tags\//;

describe("an upload", () => {
  it("shows its files together when it is finished, and nothing before", async () => {
    const server = await servers().open();
    const session = await server.startUpload({ project: PROJECT, uploadId: randomUUID(), run: "r" });
    await sendFile(session, "a", "1");
    await sendFile(session, "b/c", "22");
    assert.deepEqual(await runNames(server), []);
    await assert.rejects(show(server, { run: "r" }), failsWith("RUN_NOT_FOUND"));
    const committed = await session.finish({ files: 2, bytes: 3 });
    assert.deepEqual(committed, { project: PROJECT, run: "r", commit: 1, files: 2, bytes: 3 });
    assert.deepEqual(await show(server, { run: "r" }), { a: "1", "b/c": "22" });
  });

  it("commits nothing when it ends without a finish", async () => {
    const server = await servers().open();
    const session = await server.startUpload({ project: PROJECT, uploadId: randomUUID(), run: "r" });
    await sendFile(session, "a", "1");
    await session.close();
    assert.deepEqual(await runNames(server), []);
  });

  it("adds and overwrites, and never removes", async () => {
    const server = await servers().open();
    await upload(server, { run: "r" }, { a: "old", b: "kept" });
    await upload(server, { run: "r" }, { a: "new", c: "added" });
    assert.deepEqual(await show(server, { run: "r" }), { a: "new", b: "kept", c: "added" });
    assert.deepEqual(await show(server, { run: "r", commit: 1 }), { a: "old", b: "kept" });
  });

  it("lets the newer one win where a path is a file in one commit and a folder in another", async () => {
    const server = await servers().open();
    await upload(server, { run: "r" }, { a: "file", "b/c": "in folder" });
    await upload(server, { run: "r" }, { "a/x": "in folder", b: "file" });
    assert.deepEqual(await show(server, { run: "r" }), { "a/x": "in folder", b: "file" });
  });

  for (const [what, files] of Object.entries({
    "a file and a folder of one name": ["a", "a/b"],
    "a folder and then a file of one name": ["a/b", "a"],
    "one path twice": ["a", "a"],
  })) {
    it(`is refused with ${what}`, async () => {
      const server = await servers().open();
      const session = await server.startUpload({ project: PROJECT, uploadId: randomUUID(), run: "r" });
      await assert.rejects(async () => {
        for (const path of files) await sendFile(session, path, "x");
        await session.finish({ files: 2, bytes: 2 });
      }, failsWith("PATH_CONFLICT"));
      await session.close();
      assert.deepEqual(await runNames(server), []);
    });
  }

  it("is refused when sizes, counts or checksums are not as announced", async () => {
    const server = await servers().open();
    const begin = async () => {
      const session = await server.startUpload({ project: PROJECT, uploadId: randomUUID(), run: "r" });
      await session.file({ path: "a", type: "file", size: 2 });
      return session;
    };
    const more = await begin();
    assert.throws(() => more.chunk(Buffer.from("xyz")), failsWith("SIZE_MISMATCH"));
    const fewer = await begin();
    await fewer.chunk(Buffer.from("x"));
    await assert.rejects(async () => fewer.endFile({ size: 2, crc32c: 0 }), failsWith("SIZE_MISMATCH"));
    const damaged = await begin();
    await damaged.chunk(Buffer.from("xy"));
    await assert.rejects(async () => damaged.endFile({ size: 2, crc32c: crc32c(Buffer.from("xz")) }), failsWith("CHECKSUM_MISMATCH"));
    const miscounted = await server.startUpload({ project: PROJECT, uploadId: randomUUID(), run: "r" });
    await sendFile(miscounted, "a", "x");
    await assert.rejects(miscounted.finish({ files: 2, bytes: 1 }), failsWith("SIZE_MISMATCH"));
    assert.deepEqual(await runNames(server), []);
  });

  it("fails, and shows nothing, when the store fails to keep its bytes", async () => {
    const server = await servers().open();
    const fault = failing(puts(/\/data\//));
    server.driver.interceptor = fault;
    await assert.rejects(upload(server, { run: "r" }, { a: "1" }), /broken off/);
    assert.equal(fault.fired, 1);
    assert.deepEqual(await runNames(server), []);
  });
});

describe("an upload that is finished twice", () => {
  for (const [what, pattern, when] of [
    ["its decision was lost", /\/ended\//, "after"],
    ["its commit was lost", LOG, "after"],
    ["its commit was not made", LOG, "before"],
  ] as const) {
    it(`gets one commit, at another server too, when the answer to ${what}`, async () => {
      const all = servers();
      const first = await all.open();
      const second = await all.open();
      const uploadId = randomUUID();
      const fault = failing(puts(pattern), when);
      first.driver.interceptor = fault;
      await assert.rejects(upload(first, { run: "r", uploadId }, { a: "1" }), /broken off/);
      assert.ok(fault.fired > 0);
      const session = await second.startUpload({ project: PROJECT, uploadId, run: "r" });
      assert.equal(session.committed?.commit, 1, "before anything is sent again");
      const again = await upload(second, { run: "r", uploadId }, { a: "1" });
      assert.deepEqual(again, { project: PROJECT, run: "r", commit: 1, files: 1, bytes: 1 });
      assert.equal((await second.getRun(PROJECT, "r")).commits, 1);
      assert.equal((await upload(second, { run: "r" }, { b: "2" })).commit, 2);
      assert.equal((await upload(second, { run: "r", uploadId }, { a: "1" })).commit, 1);
    });
  }

  it("recognises its own commit by its id, not by its content", async () => {
    const server = await servers().open();
    assert.equal((await upload(server, { run: "r" }, { a: "1" })).commit, 1);
    assert.equal((await upload(server, { run: "r" }, { a: "1" })).commit, 2);
  });

  it("is refused for another run or tag", async () => {
    const server = await servers().open();
    const uploadId = randomUUID();
    await upload(server, { run: "r", uploadId }, { a: "1" });
    await assert.rejects(upload(server, { run: "other", uploadId }, { a: "1" }), failsWith("UPLOAD_ID_MISMATCH"));
    await assert.rejects(upload(server, { tag: "t", uploadId }, { a: "1" }), failsWith("UPLOAD_ID_MISMATCH"));
  });
});

describe("uploads to one run at once", () => {
  it("lose nothing and get numbers without gaps, whichever server they go to", async () => {
    const all = servers();
    const some = [await all.open(), await all.open(), await all.open()];
    const commits = await Promise.all(
      Array.from({ length: 30 }, (_, i) => upload(some[i % 3] as (typeof some)[0], { run: "r" }, { [`f${i}`]: String(i) })),
    );
    assert.deepEqual(
      commits.map((commit) => commit.commit).sort((a, b) => a - b),
      Array.from({ length: 30 }, (_, i) => i + 1),
    );
    const shown = await show(some[0] as (typeof some)[0], { run: "r" });
    assert.deepEqual(shown, Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`f${i}`, String(i)])));
  });

  it("give the next number to the one that lost the race for its first choice", async () => {
    const all = servers();
    const slow = await all.open();
    const fast = await all.open();
    const held = holdFirst(puts(LOG));
    slow.driver.interceptor = held.interceptor;
    const loser = upload(slow, { run: "r" }, { a: "slow" });
    await held.reached;
    assert.equal((await upload(fast, { run: "r" }, { a: "fast" })).commit, 1);
    held.release();
    assert.equal((await loser).commit, 2);
    assert.deepEqual(await show(fast, { run: "r" }), { a: "slow" });
  });
});

describe("tagged uploads", () => {
  it("make a run of a generated name and the tag, with one answer", async () => {
    const server = await servers().open();
    const committed = await upload(server, { tag: "t" }, { a: "1" });
    assert.match(committed.run, /^[a-z]+-[a-z]+-[0-9]+$/);
    assert.deepEqual({ ...committed, run: "" }, { project: PROJECT, run: "", commit: 1, tag: "t", files: 1, bytes: 1 });
    assert.deepEqual(await show(server, { tag: "t" }), { a: "1" });
    assert.deepEqual(await show(server, { run: committed.run }), { a: "1" });
  });

  it("keep showing their commit, whatever is uploaded to the run later", async () => {
    const server = await servers().open();
    const { run } = await upload(server, { tag: "t" }, { a: "1" });
    await upload(server, { run }, { a: "2", b: "3" });
    assert.deepEqual(await show(server, { tag: "t" }), { a: "1" });
  });

  it("are won by exactly one of many at once, and the others leave no run", async () => {
    const all = servers();
    const some = [await all.open(), await all.open()];
    const results = await Promise.allSettled(
      Array.from({ length: 32 }, (_, i) => upload(some[i % 2] as (typeof some)[0], { tag: "t" }, { a: String(i) })),
    );
    const winners = results.flatMap((result, i) => (result.status === "fulfilled" ? [{ i, run: result.value.run }] : []));
    assert.equal(winners.length, 1);
    for (const result of results) if (result.status === "rejected") failsWith("TAG_EXISTS")(result.reason);
    const [winner] = winners;
    assert.deepEqual(await runNames(some[0] as (typeof some)[0]), [winner?.run]);
    assert.deepEqual(await show(some[1] as (typeof some)[0], { tag: "t" }), { a: String(winner?.i) });
  });

  it("are refused at the start when the tag exists", async () => {
    const server = await servers().open();
    await upload(server, { tag: "t" }, { a: "1" });
    await assert.rejects(server.startUpload({ project: PROJECT, uploadId: randomUUID(), tag: "t" }), failsWith("TAG_EXISTS"));
  });

  it("are committed by their tag: when the server dies before the run's entry, readers make it", async () => {
    const all = servers();
    const dying = await all.open();
    const uploadId = randomUUID();
    const fault = failing(puts(LOG));
    dying.driver.interceptor = fault;
    await assert.rejects(upload(dying, { tag: "t", uploadId }, { a: "1" }), /broken off/);
    assert.equal(fault.fired, 1);
    const reader = await all.open();
    assert.deepEqual(await show(reader, { tag: "t" }), { a: "1" });
    const [run] = await runNames(reader);
    assert.ok(run);
    assert.deepEqual(await upload(reader, { tag: "t", uploadId }, { a: "1" }), {
      project: PROJECT,
      run,
      commit: 1,
      tag: "t",
      files: 1,
      bytes: 1,
    });
  });

  it("leave their run when the server died before its entry and the tag is deleted", async () => {
    const all = servers();
    const dying = await all.open();
    dying.driver.interceptor = failing(puts(LOG));
    await assert.rejects(upload(dying, { tag: "t" }, { a: "1" }), /broken off/);
    const other = await all.open();
    await other.deleteTag(PROJECT, "t");
    const [run] = await runNames(other);
    assert.deepEqual(await show(other, { run: run as string }), { a: "1" });
  });

  it("get their first answer when it was lost with the tag's entry", async () => {
    const all = servers();
    const first = await all.open();
    const uploadId = randomUUID();
    first.driver.interceptor = failing(puts(TAG), "after");
    await assert.rejects(upload(first, { tag: "t", uploadId }, { a: "1" }), /broken off/);
    const again = await upload(await all.open(), { tag: "t", uploadId }, { a: "1" });
    assert.equal(again.tag, "t");
    assert.equal((await first.listTags(PROJECT)).tags.length, 1);
  });

  it("keep their run's name to themselves until they are committed", async () => {
    const all = servers();
    const server = await all.open();
    const session = await server.startUpload({ project: PROJECT, uploadId: randomUUID(), tag: "t" });
    await assert.rejects(upload(await all.open(), { run: session.run }, { a: "1" }), failsWith("RUN_RESERVED"));
    await sendFile(session, "a", "1");
    await session.finish({ files: 1, bytes: 1 });
    assert.equal((await upload(server, { run: session.run }, { b: "2" })).commit, 2);
  });
});

describe("aborting an upload", () => {
  it("keeps it from being committed", async () => {
    const all = servers();
    const server = await all.open();
    const uploadId = randomUUID();
    const session = await server.startUpload({ project: PROJECT, uploadId, run: "r" });
    await sendFile(session, "a", "1");
    await (await all.open()).abortUpload(PROJECT, uploadId);
    await assert.rejects(session.finish({ files: 1, bytes: 1 }), failsWith("UPLOAD_GONE"));
    await assert.rejects(upload(server, { run: "r", uploadId }, { a: "1" }), failsWith("UPLOAD_GONE"));
    assert.deepEqual(await runNames(server), []);
    assert.deepEqual((await server.listUploads(PROJECT)).uploads, []);
  });

  it("says so when it comes too late, even while the commit is not made yet", async () => {
    const all = servers();
    const server = await all.open();
    const uploadId = randomUUID();
    const held = holdFirst(puts(LOG));
    server.driver.interceptor = held.interceptor;
    const finishing = upload(server, { run: "r", uploadId }, { a: "1" });
    await held.reached;
    await assert.rejects((await all.open()).abortUpload(PROJECT, uploadId), failsWith("UPLOAD_FINISHED"));
    held.release();
    assert.equal((await finishing).commit, 1);
  });

  it("of an unknown one is an error that names it", async () => {
    const server = await servers().open();
    await assert.rejects(server.abortUpload(PROJECT, "0123456789abcdef"), failsWith("UPLOAD_NOT_FOUND"));
  });
});

describe("an upload that goes on", () => {
  const MIB = 1024 * 1024;
  const settings = { dataObjectBytes: MIB, idleMs: 60_000 };
  const content = Buffer.from(Array.from({ length: 5 * MIB + 12345 }, (_, i) => (i * 7 + (i >> 9)) & 0xff));
  const header = { path: "big", type: "file" as const, size: content.length, mode: 0o600, mtimeNs: 42n };

  it("needs only the bytes that were not persisted, at any server, in mid-file", async () => {
    const all = servers();
    const uploadId = randomUUID();
    const dying = await all.open({ settings });
    const begun = await dying.startUpload({ project: PROJECT, uploadId, run: "r" });
    await sendFile(begun, "small", "s");
    await begun.file(header);
    await begun.chunk(content.subarray(0, 2.5 * MIB));
    await begun.close();

    const other = await all.open({ settings });
    const { upload: info, files } = await other.getUpload(PROJECT, uploadId);
    assert.equal(info.state, "open");
    assert.deepEqual(files, [
      { path: "big", size: content.length, mtimeNs: 42n, try: 0, spans: [{ offset: 0, length: 2.5 * MIB }] },
      { path: "small", size: 1, mtimeNs: 1_700_000_000_123_456_789n, try: 0, spans: [{ offset: 0, length: 1 }] },
    ]);
    const session = await other.startUpload({ project: PROJECT, uploadId, run: "r" });
    await session.file({ path: "small", type: "file", size: 1, mtimeNs: 1_700_000_000_123_456_789n });
    await session.skip(1);
    await session.endFile({ size: 1, crc32c: crc32c(bytesOf("s")) });
    await session.file(header);
    await session.skip(2.5 * MIB);
    await session.chunk(content.subarray(2.5 * MIB));
    await session.endFile({ size: content.length, crc32c: crc32c(content) });
    await session.finish({ files: 2, bytes: content.length + 1 });
    const parts: Uint8Array[] = [];
    for await (const batch of other.download({ project: PROJECT, reference: { run: "r" }, path: "big" })) {
      for (const event of batch) if (event.type === "chunk") parts.push(event.bytes);
    }
    assert.ok(Buffer.concat(parts).equals(content));
  });

  it("may fill a hole between stretches that are persisted", async () => {
    const all = servers();
    const uploadId = randomUUID();
    const dying = await all.open({ settings });
    const begun = await dying.startUpload({ project: PROJECT, uploadId, run: "r" });
    let dataPuts = 0;
    dying.driver.interceptor = failing((call) => puts(/\/data\//)(call) && ++dataPuts === 2);
    await begun.file(header);
    await begun.chunk(content.subarray(0, 3 * MIB));
    await begun.close();
    const other = await all.open({ settings });
    const { files } = await other.getUpload(PROJECT, uploadId);
    assert.deepEqual(files[0]?.spans, [
      { offset: 0, length: MIB },
      { offset: 2 * MIB, length: MIB },
    ]);
    const wrong = await other.startUpload({ project: PROJECT, uploadId, run: "r" });
    await wrong.file(header);
    await assert.rejects(wrong.skip(2 * MIB), failsWith("PERSISTED_MISSING"));
    await wrong.close();
    const session = await other.startUpload({ project: PROJECT, uploadId, run: "r" });
    await session.file(header);
    await session.skip(MIB);
    await session.chunk(content.subarray(MIB, 2 * MIB));
    await session.skip(MIB);
    await session.chunk(content.subarray(3 * MIB));
    await session.endFile({ size: content.length, crc32c: crc32c(content) });
    assert.equal((await session.finish({ files: 1, bytes: content.length })).commit, 1);
    let sum = 0;
    for await (const batch of other.download({ project: PROJECT, reference: { run: "r" } })) {
      for (const event of batch) if (event.type === "chunk") sum = crc32c(event.bytes, sum);
    }
    assert.equal(sum, crc32c(content));
  });

  it("is refused bytes to leave out that are not persisted, or are of another state of the file", async () => {
    const all = servers();
    const server = await all.open({ settings });
    const uploadId = randomUUID();
    const begun = await server.startUpload({ project: PROJECT, uploadId, run: "r" });
    await begun.file(header);
    await begun.chunk(content.subarray(0, MIB));
    await begun.close();
    for (const [change, skip] of [
      [{}, 2 * MIB],
      [{}, MIB / 2],
      [{ mtimeNs: 43n }, MIB],
      [{ try: 1 }, MIB],
      [{ path: "other" }, MIB],
    ] as const) {
      const session = await server.startUpload({ project: PROJECT, uploadId, run: "r" });
      await session.file({ ...header, ...change });
      await assert.rejects(session.skip(skip), failsWith("PERSISTED_MISSING"));
      await session.close();
    }
  });

  it("drops what it had of a file that is begun again", async () => {
    const server = await servers().open({ settings });
    const session = await server.startUpload({ project: PROJECT, uploadId: randomUUID(), run: "r" });
    await session.file({ path: "f", type: "file", size: 5, try: 0 });
    await session.chunk(Buffer.from("stale"));
    await sendFile(session, "f", "fresh", 1);
    await session.finish({ files: 1, bytes: 5 });
    assert.deepEqual(await show(server, { run: "r" }), { f: "fresh" });
  });

  it("tells of a file that was begun again what it has of the last time", async () => {
    const server = await servers().open({ settings });
    const uploadId = randomUUID();
    for (const [attempt, bytes] of ["stale", "fre"].entries()) {
      const session = await server.startUpload({ project: PROJECT, uploadId, run: "r" });
      await session.file({ path: "f", type: "file", size: 5, try: attempt });
      await session.chunk(Buffer.from(bytes));
      await session.close();
    }
    const { files } = await server.getUpload(PROJECT, uploadId);
    assert.deepEqual(files, [{ path: "f", size: 5, mtimeNs: 0n, try: 1, spans: [{ offset: 0, length: 3 }] }]);
  });

  it("is not committed from bytes that differ from what the client has", async () => {
    const all = servers();
    const server = await all.open({ settings });
    const uploadId = randomUUID();
    const begun = await server.startUpload({ project: PROJECT, uploadId, run: "r" });
    await begun.file(header);
    await begun.chunk(content.subarray(0, MIB));
    await begun.close();
    const changed = Buffer.from(content);
    changed[0] = (changed[0] as number) ^ 1;
    const session = await server.startUpload({ project: PROJECT, uploadId, run: "r" });
    await session.file(header);
    await session.skip(MIB);
    await session.chunk(changed.subarray(MIB));
    await assert.rejects(async () => session.endFile({ size: changed.length, crc32c: crc32c(changed) }), failsWith("CHECKSUM_MISMATCH"));
  });

  it("keeps the run it began with when no run was named", async () => {
    const all = servers();
    const uploadId = randomUUID();
    const first = await all.open();
    await (await first.startUpload({ project: PROJECT, uploadId, run: "first-run", runAssigned: true })).close();
    const session = await (await all.open()).startUpload({ project: PROJECT, uploadId, run: "second-run", runAssigned: true });
    assert.equal(session.run, "first-run");
  });
});

describe("memory for uploads", () => {
  it("is shared without deadlock by more slow uploads than fit", async () => {
    const MIB = 1024 * 1024;
    const server = await servers().open({ settings: { uploadMemoryBytes: 4 * MIB, dataObjectBytes: 4 * MIB, idleMs: 60_000 } });
    const part = Buffer.alloc(MIB, 1);
    const sessions = await Promise.all(
      Array.from({ length: 8 }, (_, i) => server.startUpload({ project: PROJECT, uploadId: randomUUID(), run: `r${i}` })),
    );
    for (const session of sessions) await session.file({ path: "f", type: "file" });
    for (let round = 0; round < 3; round++) await Promise.all(sessions.map((session) => session.chunk(part)));
    const content = Buffer.concat([part, part, part]);
    await Promise.all(
      sessions.map(async (session) => {
        await session.endFile({ size: content.length, crc32c: crc32c(content) });
        await session.finish(countsOf({ f: content }));
      }),
    );
    assert.equal((await runNames(server)).length, 8);
  });

  it("is given back to the store when an upload idles", async () => {
    const all = servers();
    const server = await all.open({ settings: { idleMs: 10 } });
    const uploadId = randomUUID();
    const session = await server.startUpload({ project: PROJECT, uploadId, run: "r" });
    const put = new Promise<void>((resolve) => {
      server.driver.interceptor = { after: (call) => (puts(/\/data\//)(call) ? resolve() : undefined) };
    });
    await session.file({ path: "f", type: "file", mtimeNs: 1n });
    await session.chunk(Buffer.from("some"));
    await put;
    assert.deepEqual((await (await all.open()).getUpload(PROJECT, uploadId)).files[0]?.spans, [{ offset: 0, length: 4 }]);
    await session.close();
  });

  it("is given back to the store when an upload never idles, but is slow", async () => {
    const all = servers();
    const server = await all.open({ settings: { idleMs: 50 } });
    const uploadId = randomUUID();
    const session = await server.startUpload({ project: PROJECT, uploadId, run: "r" });
    let isPut = false;
    server.driver.interceptor = {
      after: (call) => {
        isPut ||= puts(/\/data\//)(call);
      },
    };
    await session.file({ path: "f", type: "file", mtimeNs: 1n });
    for (let sent = 0; !isPut; sent++) {
      assert.ok(sent < 1_000, "nothing was put");
      await session.chunk(Buffer.from("x"));
      await wait(5);
    }
    assert.ok(((await (await all.open()).getUpload(PROJECT, uploadId)).files[0]?.spans[0]?.length ?? 0) > 1);
    await session.close();
  });
});

describe("a file's modification time", () => {
  it("beyond what can be stored is refused, named, whatever is uploaded besides", async () => {
    const server = await servers().open();
    for (const mtimeNs of [-(2n ** 63n) - 1n, 2n ** 63n, -11_644_473_600_000_000_000n * 2n]) {
      const session = await server.startUpload({ project: PROJECT, uploadId: randomUUID(), run: "r" });
      await assert.rejects(async () => session.file({ path: "d/f", type: "file", mtimeNs }), failsWith("MESSAGE_INVALID"));
      await session.close();
    }
    for (const [i, mtimeNs] of [-(2n ** 63n), 2n ** 63n - 1n].entries()) {
      const session = await server.startUpload({ project: PROJECT, uploadId: randomUUID(), run: `kept-${i}` });
      await session.file({ path: "d", type: "folder", mtimeNs });
      await session.file({ path: "d/f", type: "file", mtimeNs });
      await session.endFile({ size: 0, crc32c: 0 });
      await session.finish({ files: 1, bytes: 0 });
      await session.close();
      const { entries } = await server.listEntries(PROJECT, { run: `kept-${i}` }, { recursive: true });
      assert.deepEqual(
        entries.map((entry) => entry.mtimeNs),
        [mtimeNs, mtimeNs],
      );
    }
  });
});
