import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { failsWith, PROJECT, runNames, servers, show, upload } from "../support/domain.ts";
import { failing, holdFirst, puts } from "../support/intercepted-driver.ts";

const LOG = /\/log\//;
const TAG = /\/tags\//;

describe("deleting a run", () => {
  it("takes all its commits out of sight", async () => {
    const server = await servers().open();
    await upload(server, { run: "r" }, { a: "1" });
    assert.deepEqual(await server.deleteRun(PROJECT, "r"), []);
    assert.deepEqual(await runNames(server), []);
    await assert.rejects(show(server, { run: "r" }), failsWith("RUN_NOT_FOUND"));
    await assert.rejects(server.deleteRun(PROJECT, "r"), failsWith("RUN_NOT_FOUND"));
  });

  it("leaves the name to be used again, with numbers that count on", async () => {
    const server = await servers().open();
    await upload(server, { run: "r" }, { a: "1" });
    await upload(server, { run: "r" }, { b: "2" });
    await server.deleteRun(PROJECT, "r");
    assert.equal((await upload(server, { run: "r" }, { c: "3" })).commit, 4);
    assert.deepEqual(await show(server, { run: "r" }), { c: "3" });
    const run = await server.getRun(PROJECT, "r");
    assert.equal(run.commits, 1);
    await assert.rejects(show(server, { run: "r", commit: 2 }), failsWith("COMMIT_NOT_FOUND"));
    await assert.rejects(server.createTag(PROJECT, "t", { run: "r", commit: 2 }), failsWith("COMMIT_NOT_FOUND"));
  });

  it("is refused while it has tags, which the error names, and forced takes them with it", async () => {
    const server = await servers().open();
    const { run } = await upload(server, { tag: "t1" }, { a: "1" });
    await server.createTag(PROJECT, "t2", { run });
    await assert.rejects(server.deleteRun(PROJECT, run), (error: Error) => {
      failsWith("RUN_HAS_TAGS")(error);
      return /"t1", "t2"/.test(error.message);
    });
    assert.deepEqual(await server.deleteRun(PROJECT, run, { force: true }), ["t1", "t2"]);
    assert.deepEqual((await server.listTags(PROJECT)).tags, []);
    await assert.rejects(show(server, { tag: "t1" }), failsWith("TAG_NOT_FOUND"));
  });

  it("happens once for one request, though its answer was lost", async () => {
    const all = servers();
    const server = await all.open();
    await upload(server, { run: "r" }, { a: "1" });
    const requestId = randomUUID();
    server.driver.interceptor = failing(puts(LOG), "after");
    await assert.rejects(server.deleteRun(PROJECT, "r", { requestId }), /broken off/);
    assert.deepEqual(await (await all.open()).deleteRun(PROJECT, "r", { requestId }), []);
  });

  it("happens once, and is told twice, when one request is at two servers at once", async () => {
    const all = servers();
    const server = await all.open();
    await upload(server, { run: "r" }, { a: "1" });
    const requestId = randomUUID();
    const held = holdFirst(puts(LOG));
    server.driver.interceptor = held.interceptor;
    const first = server.deleteRun(PROJECT, "r", { requestId });
    await held.reached;
    const other = await all.open();
    assert.deepEqual(await other.deleteRun(PROJECT, "r", { requestId }), []);
    await upload(other, { run: "r" }, { b: "2" });
    held.release();
    assert.deepEqual(await first, []);
    assert.deepEqual(await show(other, { run: "r" }), { b: "2" });
  });

  it("that is sent again, its answer lost, leaves a later run of the same name and its tags alone", async () => {
    const all = servers();
    const server = await all.open();
    await upload(server, { run: "r" }, { a: "1" });
    await server.createTag(PROJECT, "old", { run: "r" });
    const request = { force: true, requestId: randomUUID() };
    server.driver.interceptor = failing(puts(LOG), "after");
    await assert.rejects(server.deleteRun(PROJECT, "r", request), /broken off/);
    const other = await all.open();
    await upload(other, { run: "r" }, { b: "2" });
    await other.createTag(PROJECT, "new", { run: "r" });
    assert.deepEqual(await other.deleteRun(PROJECT, "r", request), ["old"]);
    assert.deepEqual(await show(other, { run: "r" }), { b: "2" });
    assert.deepEqual(await show(other, { tag: "new" }), { b: "2" });
  });

  it("forced leaves a tag alone that names another run by the time it comes to it", async () => {
    const all = servers();
    const server = await all.open();
    await upload(server, { run: "r" }, { a: "1" });
    await upload(server, { run: "other" }, { b: "2" });
    await server.createTag(PROJECT, "t", { run: "r" });
    const held = holdFirst(puts(TAG));
    server.driver.interceptor = held.interceptor;
    const deleting = server.deleteRun(PROJECT, "r", { force: true });
    await held.reached;
    const other = await all.open();
    await other.deleteTag(PROJECT, "t");
    await other.createTag(PROJECT, "t", { run: "other" });
    held.release();
    await deleting;
    assert.deepEqual(await show(other, { tag: "t" }), { b: "2" });
  });

  it("has one order with an upload that races it", async () => {
    const all = servers();
    const server = await all.open();
    await upload(server, { run: "r" }, { a: "1" });
    const held = holdFirst(puts(LOG));
    server.driver.interceptor = held.interceptor;
    const uploading = upload(server, { run: "r" }, { b: "2" });
    await held.reached;
    await (await all.open()).deleteRun(PROJECT, "r");
    held.release();
    assert.equal((await uploading).commit, 3);
    assert.deepEqual(await show(server, { run: "r" }), { b: "2" });
  });

  it("has one order with an upload that was quicker", async () => {
    const all = servers();
    const server = await all.open();
    await upload(server, { run: "r" }, { a: "1" });
    const held = holdFirst(puts(LOG));
    server.driver.interceptor = held.interceptor;
    const deleting = server.deleteRun(PROJECT, "r");
    await held.reached;
    assert.equal((await upload(await all.open(), { run: "r" }, { b: "2" })).commit, 2);
    held.release();
    await deleting;
    assert.deepEqual(await runNames(server), []);
  });

  it("forced takes a tag along that was made meanwhile", async () => {
    const all = servers();
    const server = await all.open();
    await upload(server, { run: "r" }, { a: "1" });
    const held = holdFirst(puts(LOG));
    server.driver.interceptor = held.interceptor;
    const deleting = server.deleteRun(PROJECT, "r", { force: true });
    await held.reached;
    await (await all.open()).createTag(PROJECT, "late", { run: "r" });
    held.release();
    await deleting;
    assert.deepEqual((await server.listTags(PROJECT)).tags, []);
  });
});

describe("a tag", () => {
  it("can be made for a commit, and for a path, whose files it shows at their paths", async () => {
    const server = await servers().open();
    await upload(server, { run: "r" }, { "out/model": "1", log: "x" });
    await upload(server, { run: "r" }, { "out/model": "2" });
    const tag = await server.createTag(PROJECT, "t", { run: "r", commit: 1, path: "out" });
    assert.deepEqual({ ...tag, created: undefined }, { name: "t", run: "r", commit: 1, path: "out", created: undefined });
    assert.deepEqual(await show(server, { tag: "t" }), { "out/model": "1" });
    assert.deepEqual(await show(server, { tag: "t" }, { path: "out/model" }), { "out/model": "1" });
    await assert.rejects(show(server, { tag: "t" }, { path: "log" }), failsWith("PATH_NOT_FOUND"));
    const listing = await server.listEntries(PROJECT, { tag: "t" }, {});
    assert.equal(listing.totalFiles, 1);
  });

  it("of a path is listed level by level from the root, as a run is that has nothing else", async () => {
    const server = await servers().open();
    const session = await server.startUpload({ project: PROJECT, run: "r", uploadId: randomUUID() });
    for (const path of ["a", "a/b"]) await session.file({ path, type: "folder", mode: 0o700 });
    await session.finish({ files: 0, bytes: 0 });
    await session.close();
    await upload(server, { run: "r" }, { "a/b/f": "1", "a/b/g": "2", "a/c": "3", z: "4" });
    await server.createTag(PROJECT, "folder", { run: "r", path: "a/b" });
    await server.createTag(PROJECT, "file", { run: "r", path: "a/b/g" });
    const names = async (tag: string, query: { prefix?: string; recursive?: boolean; pageSize?: number; pageToken?: string }) => {
      const { entries, nextPageToken, totalFiles } = await server.listEntries(PROJECT, { tag }, query);
      return { paths: entries.map(({ path, type }) => (type === "folder" ? `${path}/` : path)), nextPageToken, totalFiles };
    };
    const whole = (...paths: string[]) => ({ paths, nextPageToken: "", totalFiles: 2 });
    assert.deepEqual(await names("folder", {}), whole("a/"));
    assert.deepEqual(await names("folder", { prefix: "a" }), whole("a/b/"));
    assert.deepEqual(await names("folder", { prefix: "a/b" }), whole("a/b/f", "a/b/g"));
    assert.deepEqual(await names("folder", { recursive: true }), whole("a/b/f", "a/b/g"));
    for (const recursive of [false, true]) {
      const prefix = recursive ? "" : "a/b";
      const first = await names("folder", { prefix, recursive, pageSize: 1 });
      assert.deepEqual(first.paths, ["a/b/f"]);
      const second = await names("folder", { prefix, recursive, pageSize: 1, pageToken: first.nextPageToken });
      assert.deepEqual(second, whole("a/b/g"));
    }
    assert.deepEqual((await names("file", { prefix: "a" })).paths, ["a/b/"]);
    assert.deepEqual((await names("file", { prefix: "a/b" })).paths, ["a/b/g"]);
    assert.deepEqual((await names("file", { prefix: "a/b/g" })).paths, ["a/b/g"]);
    for (const prefix of ["z", "a/c", "a/b/f", "b"]) await assert.rejects(names("file", { prefix }), failsWith("PATH_NOT_FOUND"));
  });

  it("can't be made for what isn't there", async () => {
    const server = await servers().open();
    await upload(server, { run: "r" }, { a: "1" });
    await assert.rejects(server.createTag(PROJECT, "t", { run: "none" }), failsWith("RUN_NOT_FOUND"));
    await assert.rejects(server.createTag(PROJECT, "t", { run: "r", commit: 2 }), failsWith("COMMIT_NOT_FOUND"));
    await assert.rejects(server.createTag(PROJECT, "t", { run: "r", path: "none" }), failsWith("PATH_NOT_FOUND"));
    assert.deepEqual((await server.listTags(PROJECT)).tags, []);
  });

  it("is created once: of many at once one wins, and the same request gets the same answer", async () => {
    const all = servers();
    const some = [await all.open(), await all.open()];
    const [server] = some as [(typeof some)[0]];
    await upload(server, { run: "r" }, { a: "1" });
    const results = await Promise.allSettled(
      Array.from({ length: 16 }, (_, i) => (some[i % 2] as typeof server).createTag(PROJECT, "t", { run: "r", requestId: randomUUID() })),
    );
    assert.equal(results.filter((result) => result.status === "fulfilled").length, 1);
    const requestId = randomUUID();
    server.driver.interceptor = failing(puts(TAG), "after");
    await assert.rejects(server.createTag(PROJECT, "u", { run: "r", requestId }), /broken off/);
    assert.equal((await (some[1] as typeof server).createTag(PROJECT, "u", { run: "r", requestId })).name, "u");
  });

  it("that was made is told again to the same request, also when its run is gone by then", async () => {
    const all = servers();
    const server = await all.open();
    await upload(server, { run: "r" }, { a: "1" });
    const requestId = randomUUID();
    const first = await server.createTag(PROJECT, "t", { run: "r", requestId });
    await upload(server, { run: "r" }, { a: "2" });
    assert.deepEqual(await (await all.open()).createTag(PROJECT, "t", { run: "r", requestId }), first);
    await server.deleteRun(PROJECT, "r", { force: true });
    assert.deepEqual(await (await all.open()).createTag(PROJECT, "t", { run: "r", requestId }), first);
    await assert.rejects(server.createTag(PROJECT, "u", { run: "other", requestId }), failsWith("UPLOAD_ID_MISMATCH"));
  });

  it("points at what was the newest commit when it was first asked for", async () => {
    const all = servers();
    const server = await all.open();
    await upload(server, { run: "r" }, { a: "1" });
    const requestId = randomUUID();
    server.driver.interceptor = failing(puts(TAG));
    await assert.rejects(server.createTag(PROJECT, "t", { run: "r", requestId }), /broken off/);
    const other = await all.open();
    await upload(other, { run: "r" }, { a: "2" });
    assert.equal((await other.createTag(PROJECT, "t", { run: "r", requestId })).commit, 1);
  });

  it("can be deleted, which leaves its run, and made again", async () => {
    const server = await servers().open();
    const { run } = await upload(server, { tag: "t" }, { a: "1" });
    await server.deleteTag(PROJECT, "t");
    await assert.rejects(server.getTag(PROJECT, "t"), failsWith("TAG_NOT_FOUND"));
    await assert.rejects(server.deleteTag(PROJECT, "t"), failsWith("TAG_NOT_FOUND"));
    assert.deepEqual(await show(server, { run }), { a: "1" });
    await upload(server, { tag: "t" }, { a: "2" });
    assert.deepEqual(await show(server, { tag: "t" }), { a: "2" });
  });

  it("is told with its run's tags, sorted by name", async () => {
    const server = await servers().open();
    await upload(server, { run: "r" }, { a: "1" });
    for (const tag of ["b", "a-1", "a"]) await server.createTag(PROJECT, tag, { run: "r" });
    assert.deepEqual((await server.getRun(PROJECT, "r")).tags, ["a", "a-1", "b"]);
    assert.deepEqual(
      (await server.listTags(PROJECT)).tags.map((tag) => tag.name),
      ["a", "a-1", "b"],
    );
    const first = await server.listTags(PROJECT, { pageSize: 2 });
    const second = await server.listTags(PROJECT, { pageSize: 2, pageToken: first.nextPageToken });
    assert.deepEqual(
      [...first.tags, ...second.tags].map((tag) => tag.name),
      ["a", "a-1", "b"],
    );
    assert.equal(second.nextPageToken, "");
  });
});

describe("a run's view", () => {
  it("is the same after many commits as if all had been folded by hand, at every commit", async () => {
    const all = servers();
    const writer = await all.open({ settings: { commitsPerSnapshot: 4 } });
    const expected: Record<string, string>[] = [];
    let current: Record<string, string> = {};
    for (let i = 1; i <= 40; i++) {
      const files = { [`f${i % 7}`]: `v${i}`, [`d/${i % 5}`]: `w${i}` };
      await upload(writer, { run: "r" }, files);
      current = { ...current, ...files };
      expected.push(current);
    }
    await writer.close();
    const server = await all.open();
    for (const [i, files] of expected.entries()) assert.deepEqual(await show(server, { run: "r", commit: i + 1 }), files);
    const info = await server.getRun(PROJECT, "r");
    assert.deepEqual([info.commits, info.files], [40, 12]);
    assert.equal(info.bytes, Object.values(current).join("").length);
  });

  it("takes a bounded number of requests to read, however many commits there are", async () => {
    const all = servers();
    const server = await all.open({ settings: { commitsPerSnapshot: 4 } });
    for (let i = 1; i <= 101; i++) await upload(server, { run: "r" }, { [`f${i}`]: "x" });
    await server.close();
    const fresh = await all.open();
    const before = fresh.driver.calls.length;
    await fresh.listEntries(PROJECT, { run: "r" }, {});
    assert.ok(fresh.driver.calls.length - before < 12, `${fresh.driver.calls.length - before} requests`);
  });

  it("begins anew with a name that is used again, whatever was folded before", async () => {
    const all = servers();
    const server = await all.open({ settings: { commitsPerSnapshot: 2 } });
    for (let i = 1; i <= 4; i++) await upload(server, { run: "r" }, { [`f${i}`]: "x" });
    await server.deleteRun(PROJECT, "r");
    await upload(server, { run: "r" }, { g: "y" });
    await server.close();
    assert.deepEqual(await show(await all.open(), { run: "r" }), { g: "y" });
  });

  it("does not depend on snapshots, be they gone or damaged", async () => {
    for (const damage of [undefined, Buffer.alloc(0), Buffer.from("no record")]) {
      const all = servers();
      const server = await all.open({ settings: { commitsPerSnapshot: 2 } });
      for (let i = 1; i <= 9; i++) await upload(server, { run: "r" }, { [`f${i}`]: String(i) });
      await server.close();
      for (const key of all.store.keys.filter((each) => each.includes("/snapshots/"))) {
        const object = all.store.byKey.get(key);
        assert.ok(object);
        all.store.remove(key);
        if (damage) all.store.add(key, { ...object, bytes: damage });
      }
      assert.equal(Object.keys(await show(await all.open(), { run: "r" })).length, 9);
    }
  });
});

describe("a listing", () => {
  const files = { "a/b/c": "1", "a/b/d": "22", "a/e": "333", f: "4444", "a-b": "5" };

  it("shows one level, with folders, and totals of all that is under it", async () => {
    const server = await servers().open();
    await upload(server, { run: "r" }, files);
    const page = await server.listEntries(PROJECT, { run: "r" }, {});
    assert.deepEqual(
      page.entries.map(({ path, type }) => [path, type]),
      [
        ["a", "folder"],
        ["a-b", "file"],
        ["f", "file"],
      ],
    );
    assert.deepEqual([page.totalFiles, page.totalBytes], [5, 11]);
    const inner = await server.listEntries(PROJECT, { run: "r" }, { prefix: "a/" });
    assert.deepEqual(
      inner.entries.map(({ path }) => path),
      ["a/b", "a/e"],
    );
    assert.deepEqual([inner.totalFiles, inner.totalBytes], [3, 6]);
  });

  it("shows every level, or one file", async () => {
    const server = await servers().open();
    await upload(server, { run: "r" }, files);
    const all = await server.listEntries(PROJECT, { run: "r" }, { recursive: true });
    assert.deepEqual(
      all.entries.map(({ path }) => path),
      ["a/b/c", "a/b/d", "a/e", "a-b", "f"],
    );
    const one = await server.listEntries(PROJECT, { run: "r" }, { prefix: "a/e" });
    assert.deepEqual(
      one.entries.map(({ path, size }) => [path, size]),
      [["a/e", 3]],
    );
  });

  it("comes in pages that keep to one commit", async () => {
    const server = await servers().open();
    await upload(server, { run: "r" }, files);
    const seen: string[] = [];
    let pageToken = "";
    do {
      const page = await server.listEntries(PROJECT, { run: "r" }, { recursive: true, pageSize: 2, pageToken });
      seen.push(...page.entries.map(({ path }) => path));
      pageToken = page.nextPageToken;
      await upload(server, { run: "r" }, { z: "later" });
    } while (pageToken);
    assert.deepEqual(seen, ["a/b/c", "a/b/d", "a/e", "a-b", "f"]);
    for (const pageToken of ["nonsense", "e30"]) {
      await assert.rejects(server.listEntries(PROJECT, { run: "r" }, { pageToken }), failsWith("PAGE_TOKEN_INVALID"));
    }
  });

  it("of runs comes in pages too", async () => {
    const server = await servers().open();
    for (const run of ["a", "a-1", "b", "c"]) await upload(server, { run }, { f: "1" });
    await server.deleteRun(PROJECT, "b");
    const first = await server.listRuns(PROJECT, { pageSize: 2 });
    const second = await server.listRuns(PROJECT, { pageSize: 2, pageToken: first.nextPageToken });
    assert.deepEqual(
      [...first.runs, ...second.runs].map((run) => run.name),
      ["a", "a-1", "c"],
    );
    assert.equal(second.nextPageToken, "");
  });

  it("of runs looks at many of them at once, since each takes several answers of the store", async () => {
    const { open } = servers();
    const server = await open();
    for (let i = 0; i < 40; i++) await upload(server, { run: `run-${i}` }, { f: "1" });
    const fresh = await open();
    const waiting = new Set<string>();
    let most = 0;
    fresh.driver.interceptor = {
      async before({ key }) {
        waiting.add(key);
        most = Math.max(most, waiting.size);
        await new Promise((resolve) => setTimeout(resolve, 1));
        waiting.delete(key);
      },
    };
    assert.equal((await fresh.listRuns(PROJECT)).runs.length, 40);
    assert.ok(most >= 8 && most <= 16, `${most} at once`);
  });

  it("of a path that isn't there is an error that names it, on whole segments", async () => {
    const server = await servers().open();
    await upload(server, { run: "r" }, { "output/x": "1" });
    await assert.rejects(server.listEntries(PROJECT, { run: "r" }, { prefix: "out" }), failsWith("PATH_NOT_FOUND"));
    await assert.rejects(show(server, { run: "r" }, { path: "out" }), failsWith("PATH_NOT_FOUND"));
  });
});

describe("a copy", () => {
  it("adds entries to a run in one commit, without moving bytes", async () => {
    const server = await servers().open();
    await upload(server, { run: "r" }, { "d/a": "1", "d/e/b": "2", c: "3" });
    server.driver.calls.length = 0;
    const committed = await server.copy({ project: PROJECT, source: { run: "r" }, sourcePath: "d", run: "s", path: "x" });
    assert.deepEqual([committed.commit, committed.files, committed.bytes], [1, 2, 2]);
    assert.deepEqual(await show(server, { run: "s" }), { "x/a": "1", "x/e/b": "2" });
    assert.equal(server.driver.calls.filter(puts(/\/data\//)).length, 0);
  });

  it("goes to the same path by default, to the root by request, and makes one file another", async () => {
    const server = await servers().open();
    await upload(server, { run: "r" }, { "d/a": "1" });
    await server.copy({ project: PROJECT, source: { run: "r" }, sourcePath: "d", run: "same" });
    assert.deepEqual(await show(server, { run: "same" }), { "d/a": "1" });
    await server.copy({ project: PROJECT, source: { run: "r" }, sourcePath: "d", run: "root", path: "" });
    assert.deepEqual(await show(server, { run: "root" }), { a: "1" });
    await server.copy({ project: PROJECT, source: { run: "r" }, sourcePath: "d/a", run: "file", path: "b" });
    assert.deepEqual(await show(server, { run: "file" }), { b: "1" });
    await assert.rejects(
      server.copy({ project: PROJECT, source: { run: "r" }, sourcePath: "d/a", run: "file", path: "" }),
      failsWith("PATH_INVALID"),
    );
  });

  it("of what a tag of a path shows keeps its paths, below the path that was asked for", async () => {
    const server = await servers().open();
    await upload(server, { run: "r" }, { "a/b/f": "1", "a/c": "2" });
    await server.createTag(PROJECT, "folder", { run: "r", path: "a/b" });
    await server.createTag(PROJECT, "file", { run: "r", path: "a/b/f" });
    for (const tag of ["folder", "file"]) {
      for (const [sourcePath, path, expected] of [
        ["", undefined, "a/b/f"],
        ["", "", "a/b/f"],
        ["", "new", "new/a/b/f"],
        ["a", undefined, "a/b/f"],
        ["a", "", "b/f"],
        ["a", "new", "new/b/f"],
        ["a/b", "new", "new/f"],
        ["a/b/f", "new", "new"],
      ] as const) {
        const run = `${tag}-${sourcePath.replaceAll("/", ".")}-${path}`;
        await upload(server, { run }, { f: "mine" });
        await server.copy({ project: PROJECT, source: { tag }, sourcePath, run, ...(path === undefined ? {} : { path }) });
        assert.deepEqual(await show(server, { run }), { [expected]: "1", f: "mine" }, run);
      }
    }
  });

  it("is refused if a link in it would lead out of the run", async () => {
    const server = await servers().open();
    const session = await server.startUpload({ project: PROJECT, run: "r", uploadId: randomUUID() });
    await session.file({ path: "a/b/l", type: "link", linkTarget: "../../x" });
    await session.finish({ files: 1, bytes: 0 });
    await session.close();
    const copy = (run: string, path: string) => server.copy({ project: PROJECT, source: { run: "r" }, sourcePath: "a/b", run, path });
    await copy("deeper", "c/d/e");
    await assert.rejects(copy("shallower", "c"), failsWith("PATH_INVALID"));
    await assert.rejects(server.getRun(PROJECT, "shallower"), failsWith("RUN_NOT_FOUND"));
  });

  it("happens once for one request, though its answer was lost", async () => {
    const all = servers();
    const server = await all.open();
    await upload(server, { run: "r" }, { a: "1" });
    const query = { project: PROJECT, source: { run: "r" }, sourcePath: "", run: "s", requestId: randomUUID() };
    server.driver.interceptor = failing(puts(LOG), "after");
    await assert.rejects(server.copy(query), /broken off/);
    const other = await all.open();
    assert.deepEqual((await other.listUploads(PROJECT)).uploads, [], "there are no files to go on with");
    assert.equal((await other.copy(query)).commit, 1);
    assert.equal((await other.getRun(PROJECT, "s")).commits, 1);
  });
});
