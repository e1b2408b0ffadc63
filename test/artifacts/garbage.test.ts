import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import type { Artifacts, GarbageProgress } from "../../src/artifacts/types.ts";
import { StoreError } from "../../src/store/driver.ts";
import { failsWith, PROJECT, runNames, sendFile, servers, show, upload } from "../support/domain.ts";
import { failing, holdFirst, type Interceptor, puts } from "../support/intercepted-driver.ts";

const HOUR = 60 * 60 * 1000;

async function collect(artifacts: Artifacts, options: { graceMs?: number; dryRun?: boolean } = {}): Promise<GarbageProgress> {
  let last: GarbageProgress | undefined;
  for await (const progress of artifacts.collectGarbage({ graceMs: HOUR, ...options })) last = progress;
  assert.ok(last?.done);
  return last;
}

/** Servers whose store has a clock that the test moves. */
function clocked() {
  let now = Date.UTC(2026, 0, 1);
  const all = servers({ now: () => now });
  return { ...all, pass: (ms: number) => (now += ms) };
}

const dataKeys = (keys: readonly string[]) => keys.filter((key) => key.includes("/data/"));

describe("garbage collection", () => {
  it("removes what dead uploads left, and nothing else", async () => {
    const all = clocked();
    const server = await all.open({ settings: { commitsPerSnapshot: 2 } });
    for (let i = 0; i < 5; i++) await upload(server, { run: "r" }, { [`f${i}`]: String(i) });
    const { run } = await upload(server, { tag: "t" }, { x: "tagged" });
    const dead = await server.startUpload({ project: PROJECT, uploadId: randomUUID(), run: "r" });
    await sendFile(dead, "orphan", "bytes");
    await dead.close();
    const before = { r: await show(server, { run: "r" }), t: await show(server, { tag: "t" }), run: await show(server, { run }) };
    const data = dataKeys(all.store.keys).length;

    all.pass(2 * HOUR);
    const first = await collect(server);
    assert.ok(first.condemnedObjects > 0);
    assert.equal(first.deletedObjects, 0);
    all.pass(2 * HOUR);
    const second = await collect(await all.open());
    assert.ok(second.deletedObjects > 0);
    assert.equal(dataKeys(all.store.keys).length, data - 1);
    const fresh = await all.open();
    assert.deepEqual({ r: await show(fresh, { run: "r" }), t: await show(fresh, { tag: "t" }), run: await show(fresh, { run }) }, before);
    assert.deepEqual((await fresh.listUploads(PROJECT)).uploads, []);
  });

  it("removes it as soon as the grace period has passed twice", async () => {
    const all = clocked();
    const server = await all.open();
    const dead = await server.startUpload({ project: PROJECT, uploadId: randomUUID(), run: "r" });
    await sendFile(dead, "orphan", "bytes");
    await dead.close();
    all.pass(HOUR);
    // What it writes itself while it works is younger than the time by which it condemns.
    const collector = await all.open();
    collector.driver.interceptor = { before: (call) => void (puts(/\/ended\//)(call) && all.pass(1)) };
    await collect(collector);
    all.pass(HOUR - 2);
    await collect(server);
    assert.equal(dataKeys(all.store.keys).length, 1, "not yet");
    all.pass(1);
    await collect(server);
    assert.deepEqual(dataKeys(all.store.keys), []);
  });

  it("leaves an upload alone while its newest object is younger than the grace period", async () => {
    const all = clocked();
    const server = await all.open();
    const session = await server.startUpload({ project: PROJECT, uploadId: randomUUID(), run: "r" });
    await sendFile(session, "a", "1");
    all.pass(HOUR / 2);
    await collect(server);
    await collect(server);
    await session.finish({ files: 1, bytes: 1 });
    assert.deepEqual(await show(server, { run: "r" }), { a: "1" });
  });

  it("goes by the newest of an upload's objects, and not by its start", async () => {
    const all = clocked();
    const server = await all.open();
    const target = { project: PROJECT, uploadId: randomUUID(), run: "r" };
    const first = await server.startUpload(target);
    all.pass(HOUR - 1);
    await sendFile(first, "a", "1");
    await first.close();
    all.pass(HOUR - 1);
    await collect(server);
    const second = await server.startUpload(target);
    await sendFile(second, "a", "1");
    await second.finish({ files: 1, bytes: 1 });
    assert.deepEqual(await show(server, { run: "r" }), { a: "1" });
  });

  it("closes the door behind whoever was quicker with the place that it meant to take", async () => {
    const all = clocked();
    const uploadId = randomUUID();
    const dying = await all.open();
    dying.driver.interceptor = failing(puts(/\/log\//));
    await assert.rejects(upload(dying, { run: "r", uploadId }, { a: "1" }));
    all.pass(2 * HOUR);
    const collector = await all.open();
    const held = holdFirst(puts(/\/log\//));
    collector.driver.interceptor = held.interceptor;
    const collecting = collect(collector);
    await held.reached;
    const server = await all.open();
    assert.equal((await upload(server, { run: "r" }, { b: "2" })).commit, 1);
    held.release();
    await collecting;
    await assert.rejects(upload(server, { run: "r", uploadId }, { a: "1" }), failsWith("UPLOAD_GONE"));
    assert.deepEqual(await show(server, { run: "r" }), { b: "2" });
  });

  it("refuses the finish of an upload that it took", async () => {
    const all = clocked();
    const server = await all.open();
    const session = await server.startUpload({ project: PROJECT, uploadId: randomUUID(), run: "r" });
    await sendFile(session, "a", "1");
    all.pass(2 * HOUR);
    const other = await all.open();
    await collect(other);
    all.pass(2 * HOUR);
    await collect(other);
    await assert.rejects(session.finish({ files: 1, bytes: 1 }), failsWith("UPLOAD_GONE"));
    assert.deepEqual(await runNames(server), []);
  });

  for (const [what, target, pattern] of [
    ["a run", { run: "r" }, /\/log\//],
    ["a tag", { tag: "t" }, /\/tags\//],
  ] as const) {
    it(`keeps a server that slept past it, before its commit to ${what}, from showing what is gone`, async () => {
      const all = clocked();
      const sleeper = await all.open();
      const held = holdFirst(puts(pattern));
      sleeper.driver.interceptor = held.interceptor;
      const finishing = upload(sleeper, target, { a: "1" });
      const outcome = assert.rejects(finishing, failsWith("UPLOAD_GONE"));
      await held.reached;
      const other = await all.open();
      for (let i = 0; i < 3; i++) {
        all.pass(2 * HOUR);
        await collect(other);
      }
      assert.deepEqual(dataKeys(all.store.keys), []);
      held.release();
      await outcome;
      const reader = await all.open();
      assert.deepEqual(await runNames(reader), []);
      assert.deepEqual((await reader.listTags(PROJECT)).tags, []);
    });
  }

  it("keeps what a server decided and committed while it slept", async () => {
    const all = clocked();
    const sleeper = await all.open();
    const held = holdFirst(puts(/\/log\//), "after");
    sleeper.driver.interceptor = held.interceptor;
    const finishing = upload(sleeper, { run: "r" }, { a: "1" });
    await held.reached;
    const other = await all.open();
    for (let i = 0; i < 3; i++) {
      all.pass(2 * HOUR);
      await collect(other);
    }
    held.release();
    assert.equal((await finishing).commit, 1);
    assert.deepEqual(await show(await all.open(), { run: "r" }), { a: "1" });
  });

  it("removes what a deleted run had, but not what a tag or a copy still shows", async () => {
    const all = clocked();
    const server = await all.open();
    await upload(server, { run: "gone" }, { a: "only here" });
    await upload(server, { run: "copied" }, { b: "copied" });
    await server.copy({ project: PROJECT, source: { run: "copied" }, sourcePath: "", run: "kept" });
    await upload(server, { run: "tagged" }, { c: "tagged" });
    const held = holdFirst(puts(/\/log\/tagged\//));
    server.driver.interceptor = held.interceptor;
    const deleting = server.deleteRun(PROJECT, "tagged");
    await held.reached;
    await (await all.open()).createTag(PROJECT, "survivor", { run: "tagged" });
    held.release();
    await deleting;
    await server.deleteRun(PROJECT, "gone");
    await server.deleteRun(PROJECT, "copied");
    for (let i = 0; i < 3; i++) {
      all.pass(2 * HOUR);
      await collect(server);
    }
    const fresh = await all.open();
    assert.deepEqual(await show(fresh, { run: "kept" }), { b: "copied" });
    assert.deepEqual(await show(fresh, { tag: "survivor" }), { c: "tagged" });
    assert.equal(dataKeys(all.store.keys).length, 2);
  });

  it("leaves the source of a copy alone while the copy is under way", async () => {
    const all = clocked();
    const server = await all.open();
    await upload(server, { run: "r" }, { a: "1" });
    const copier = await all.open();
    const held = holdFirst(puts(/\/ended\//));
    copier.driver.interceptor = held.interceptor;
    all.pass(3 * HOUR);
    const copying = copier.copy({ project: PROJECT, source: { run: "r" }, sourcePath: "", run: "s" });
    await held.reached;
    await server.deleteRun(PROJECT, "r");
    all.pass(HOUR / 2);
    await collect(server);
    held.release();
    await copying;
    all.pass(2 * HOUR);
    await collect(server);
    all.pass(2 * HOUR);
    await collect(server);
    assert.deepEqual(await show(await all.open(), { run: "s" }), { a: "1" });
  });

  it("condemns and deletes in one call without grace", async () => {
    const all = clocked();
    const server = await all.open();
    await upload(server, { run: "r" }, { a: "1" });
    await server.deleteRun(PROJECT, "r");
    const result = await collect(server, { graceMs: 0 });
    assert.ok(result.deletedObjects > 0);
    assert.deepEqual(dataKeys(all.store.keys), []);
    assert.ok(!all.store.keys.some((key) => key.includes("/gc/")));
  });

  it("changes nothing on a dry run, and tells what it would", async () => {
    const all = clocked();
    const server = await all.open();
    await upload(server, { run: "r" }, { a: "1" });
    await server.deleteRun(PROJECT, "r");
    const keys = [...all.store.keys];
    const dry = await collect(server, { graceMs: 0, dryRun: true });
    assert.deepEqual([...all.store.keys], keys);
    const real = await collect(server, { graceMs: 0 });
    assert.deepEqual([dry.deletedObjects, dry.deletedBytes], [real.deletedObjects, real.deletedBytes]);
  });

  it("goes through all projects", async () => {
    const all = clocked();
    const server = await all.open();
    for (const project of ["a", "a-b", "a.b", "b"]) {
      await upload(server, { project, run: "r" }, { f: "1" });
      await server.deleteRun(project, "r");
    }
    await collect(server, { graceMs: 0 });
    assert.deepEqual(dataKeys(all.store.keys), []);
  });

  it("leaves uploads that it took their answer, and no second life", async () => {
    const all = clocked();
    const server = await all.open();
    const [finished, dead] = [randomUUID(), randomUUID()];
    await upload(server, { run: "r", uploadId: finished }, { a: "1" });
    const session = await server.startUpload({ project: PROJECT, uploadId: dead, run: "r" });
    await sendFile(session, "b", "2");
    await session.close();
    for (let i = 0; i < 2; i++) {
      all.pass(2 * HOUR);
      await collect(server);
    }
    assert.ok(!all.store.keys.some((key) => key.includes("/uploads/")));
    const answered = await server.startUpload({ project: PROJECT, uploadId: finished, run: "r" });
    assert.equal(answered.committed?.commit, 1, "at once, before anything is sent");
    assert.equal((await server.getUpload(PROJECT, finished)).upload.state, "committed");
    for (let i = 0; i < 3; i++) {
      const again = await all.open();
      assert.equal((await upload(again, { run: "r", uploadId: finished }, { a: "1" })).commit, 1);
      await assert.rejects(upload(again, { run: "r", uploadId: dead }, { b: "2" }), failsWith("UPLOAD_GONE"));
    }
    assert.equal((await server.getRun(PROJECT, "r")).commits, 1);
  });

  it("keeps what it took from coming back with another upload of the same id", async () => {
    const all = clocked();
    const sleeper = await all.open();
    const uploadId = randomUUID();
    const held = holdFirst(puts(/\/ended\//));
    sleeper.driver.interceptor = held.interceptor;
    const outcome = assert.rejects(upload(sleeper, { run: "r", uploadId }, { a: "of long ago" }), failsWith("UPLOAD_GONE"));
    await held.reached;
    const other = await all.open();
    for (let i = 0; i < 4; i++) {
      all.pass(2 * HOUR);
      await collect(other);
    }
    assert.ok(!all.store.keys.some((key) => key.includes(uploadId)));
    const again = await other.startUpload({ project: PROJECT, uploadId, run: "r" });
    held.release();
    await outcome;
    await again.close();
    assert.deepEqual(await runNames(await all.open()), []);
  });

  it("closes the door with an entry that is no commit", async () => {
    const all = clocked();
    const server = await all.open();
    await upload(server, { run: "r" }, { a: "1" });
    const dying = await all.open();
    dying.driver.interceptor = failing(puts(/\/log\//));
    await assert.rejects(upload(dying, { run: "r" }, { b: "2" }), /broken off/);
    all.pass(2 * HOUR);
    await collect(server);
    const run = await server.getRun(PROJECT, "r");
    assert.deepEqual([run.commits, run.newestCommit, run.files], [1, 1, 1]);
    assert.deepEqual(await show(server, { run: "r", commit: run.newestCommit }), { a: "1" });
    assert.equal((await upload(server, { run: "r" }, { c: "3" })).commit, 3);
    assert.equal((await server.getRun(PROJECT, "r")).commits, 2);
  });

  describe("without any room in the store", () => {
    const full: Interceptor = {
      before({ operation, key }) {
        if (operation === "putIfAbsent") throw new StoreError("full", `no space left for ${key}`);
      },
    };

    const isFull = (error: unknown) => error instanceof StoreError && error.kind === "full" && /run it again/.test(error.message);

    it("removes at once what it needn't write for", async () => {
      const all = clocked();
      const server = await all.open();
      await upload(server, { run: "r" }, { a: "1" });
      await upload(server, { run: "kept" }, { b: "2" });
      await server.deleteRun(PROJECT, "r");
      server.driver.interceptor = full;
      assert.ok((await collect(server, { graceMs: 0 })).deletedObjects > 0);
      assert.equal(dataKeys(all.store.keys).length, 1);
      assert.deepEqual(await show(await all.open(), { run: "kept" }), { b: "2" });
    });

    it("removes what was condemned a grace period before the last that was made", async () => {
      const all = clocked();
      const server = await all.open();
      await upload(server, { run: "r" }, { a: "1" });
      await server.deleteRun(PROJECT, "r");
      all.pass(2 * HOUR);
      await collect(server);
      const collector = await all.open();
      collector.driver.interceptor = full;
      all.pass(2 * HOUR);
      await collect(collector);
      assert.equal(dataKeys(all.store.keys).length, 1, "a full store has no clock to tell that time has passed");
      await upload(server, { run: "s" }, { b: "2" });
      await collect(collector);
      assert.equal(dataKeys(all.store.keys).length, 1);
      assert.deepEqual(await show(await all.open(), { run: "s" }), { b: "2" });
    });

    it("isn't led to the future by an object of then", async () => {
      const all = clocked();
      const server = await all.open();
      await upload(server, { run: "r" }, { a: "1" });
      await server.deleteRun(PROJECT, "r");
      await collect(server);
      all.pass(48 * HOUR);
      await upload(server, { run: "future" }, { f: "2" });
      all.pass(-48 * HOUR);
      const collector = await all.open();
      collector.driver.interceptor = full;
      await collect(collector);
      assert.equal(dataKeys(all.store.keys).length, 2);
    });

    it("goes on with other projects where it can't condemn, and says so at last", async () => {
      const all = clocked();
      const server = await all.open();
      const litter = async (project: string) => {
        await upload(server, { project, run: "r" }, { a: "1" });
        await server.deleteRun(project, "r");
        all.pass(2 * HOUR);
      };
      await litter("b");
      await collect(server);
      await litter("a");
      for (const project of ["a", "b"]) await upload(server, { project, run: "newest" }, { a: "2" });
      const collector = await all.open();
      collector.driver.interceptor = full;
      await assert.rejects(collect(collector), isFull);
      const dataOf = (project: string) => dataKeys(all.store.keys).filter((key) => key.startsWith(`${project}/`)).length;
      assert.deepEqual([dataOf("a"), dataOf("b")], [2, 1]);
    });

    it("keeps all of an upload that it can't shut out, and says so at last", async () => {
      const all = clocked();
      const server = await all.open();
      await upload(server, { run: "r" }, { a: "1" });
      await upload(server, { run: "source" }, { c: "3" });
      await server.deleteRun(PROJECT, "r");
      // A copy that died, and an upload that its client left; either could go on as long as the door is open.
      const dying = await all.open();
      dying.driver.interceptor = failing(puts(/\/ended\//));
      await assert.rejects(
        dying.copy({ project: PROJECT, source: { run: "source" }, sourcePath: "", run: "copied", requestId: randomUUID() }),
      );
      await server.deleteRun(PROJECT, "source");
      const target = { project: PROJECT, uploadId: randomUUID(), run: "left" };
      const left = await server.startUpload(target);
      await sendFile(left, "b", "2");
      await left.close();
      const before = [...all.store.keys];
      const collector = await all.open();
      collector.driver.interceptor = full;
      await assert.rejects(collect(collector, { graceMs: 0 }), isFull);
      const gone = before.filter((key) => !all.store.byKey.has(key));
      assert.equal(dataKeys(gone).length, 1, "that of the run that was deleted before");
      assert.equal((await server.getUpload(PROJECT, target.uploadId)).files.length, 1);
      assert.equal(dataKeys(all.store.keys).length, 2);

      await collect(await all.open(), { graceMs: 0 });
      assert.deepEqual(dataKeys(all.store.keys), []);
    });
  });

  it("can be cut off at any call and goes on the next time", async () => {
    const all = clocked();
    const server = await all.open();
    await upload(server, { run: "r" }, { a: "1" });
    await upload(server, { run: "kept" }, { b: "2" });
    await server.deleteRun(PROJECT, "r");
    for (let n = 1; ; n++) {
      const dying = await all.open();
      let calls = 0;
      dying.driver.interceptor = failing(() => ++calls === n);
      try {
        await collect(dying, { graceMs: 0 });
        if (calls < n) break;
      } catch (error) {
        assert.match(String(error), /broken off/);
      }
      assert.deepEqual(await show(await all.open(), { run: "kept" }), { b: "2" });
    }
    assert.equal(dataKeys(all.store.keys).length, 1);
  });
});
