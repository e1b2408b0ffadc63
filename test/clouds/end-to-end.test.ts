/** All that users see, on every kind of store: two servers on one store, the client, and the command line. */
import { strict as assert } from "node:assert";
import { EventEmitter, once } from "node:events";
import fs from "node:fs";
import { join } from "node:path";
import { compareTrees, readTree } from "../../scripts/compare-trees.ts";
import { type ArtifactsClient, ArtifactsUploadError, createClient, RunNotFoundError, TagNotFoundError } from "../../src/index.ts";
import { type TempFolder, tempFolder } from "../client/support.ts";
import { makeTree, type TreeEntry } from "../support/tree.ts";
import { fails, json, ok, type Served, serve } from "./command-line.ts";
import { type RunningStore, STORES } from "./stores.ts";

const MIB = 1024 * 1024;
const UPLOADS_AT_ONCE = 64;

/** What a store could stumble over: names, sizes around the data object's, nothing at all. */
const ODD_TREE: readonly TreeEntry[] = [
  { path: "plain", text: "hello", mode: "640", mtime_ns: "1700000000123456789" },
  { path: "empty", text: "", mode: "600" },
  { path: ".hidden/.also", text: "." },
  { path: "a folder/with spaces + plus & amp;/50%/#1?x=y:z;a,b=c", text: "names" },
  { path: "%2e%2e/%2F", text: "nothing is decoded" },
  { path: "unicode/\u00e9 composed", text: "1" },
  { path: "unicode/e\u0301 decomposed", text: "2" },
  { path: "unicode/\u{1F600}/\u65e5\u672c\u8a9e", text: "3" },
  { path: `long/${"n".repeat(255)}`, text: "255 bytes" },
  { path: `deep/${"d/".repeat(100)}end`, text: "101 folders" },
  { path: "case", text: "lower" },
  { path: "CASE", text: "upper" },
  { path: "a", text: "before a-b" },
  { path: "a-b/c", text: "and a/b would be between" },
  { path: "scripts/run.sh", text: "#!/bin/sh\n", mode: "755" },
  { path: "readonly", text: "x", mode: "400", mtime_ns: "1000000001" },
  { path: "empty folder/in/side/", mode: "750" },
  { path: "data/more than one object", size: 17 * MIB + 1, seed: 2 },
  ...Array.from({ length: 200 }, (_, i) => ({ path: `many/${i % 7}/${i}`, size: i * 31, seed: i })),
];

describe("artifacts", function () {
  this.timeout(120_000);
  /** Made once for all stores, and looked at only. */
  let original: TempFolder;
  const odd = (path = "") => join(original.path, "odd", path);
  before(() => {
    original = tempFolder();
    makeTree(odd(), ODD_TREE);
  });
  after(() => original[Symbol.dispose]());

  for (const [name, start] of Object.entries(STORES)) {
    describe(`in ${name}`, () => {
      let store: RunningStore;
      let servers: readonly [Served, Served];
      let client: ArtifactsClient;
      let other: ArtifactsClient;
      let folder: TempFolder;
      const local = (path: string) => join(folder.path, path);

      before(async () => {
        folder = tempFolder();
        store = await start();
        // One after the other: the first makes the store.
        servers = [await serve(store.at("end-to-end")), await serve(store.at("end-to-end"))];
        client = createClient({ url: servers[0].url, env: {} });
        other = createClient({ url: servers[1].url, env: {} });
      });
      after(async () => {
        await client?.close();
        await other?.close();
        await Promise.all((servers ?? []).map((server) => server.stop()));
        await store?.stop();
        folder?.[Symbol.dispose]();
      });

      async function text(from: { run?: string; tag?: string }, artifactPath: string): Promise<string> {
        const parts: Uint8Array[] = [];
        for await (const part of client.read({ ...from, artifactPath })) parts.push(part);
        return Buffer.concat(parts).toString();
      }

      it("come back from another server exactly as they were", async () => {
        const { files, bytes, run, tag } = await client.upload({ localPath: odd(), artifactPath: "", tag: "odd" });
        assert.equal(files, ODD_TREE.length - 1);
        const result = await other.download({ tag: "odd", localPath: local("back") });
        assert.deepEqual(result, { run, commit: 1, files, bytes });
        assert.deepEqual(compareTrees(readTree(odd()), readTree(local("back"))), []);
        assert.equal(tag, "odd");
      });

      it("can be checked byte by byte in the store", async () => {
        assert.deepEqual((await other.verify({ tag: "odd" })).damaged, []);
      });

      it("are listed by folder, and all together", async () => {
        const { entries } = await other.list({ tag: "odd", prefix: "a folder" });
        assert.deepEqual(
          entries.map(({ path, type }) => [path, type]),
          [["a folder/with spaces + plus & amp;", "folder"]],
        );
        const all = await client.list({ tag: "odd", recursive: true });
        const expected = [...readTree(odd())].filter(([, entry]) => entry.type === "file").map(([path]) => path);
        assert.deepEqual(all.entries.flatMap(({ path, type }) => (type === "file" ? [path] : [])).sort(), expected.sort());
        assert.equal(all.files, expected.length);
      });

      it("are read by range", async () => {
        const expected = fs.readFileSync(odd("data/more than one object")).subarray(16 * MIB - 10, 16 * MIB + 10);
        const parts: Uint8Array[] = [];
        for await (const part of other.read({
          tag: "odd",
          artifactPath: "data/more than one object",
          range: { offset: 16 * MIB - 10, length: 20 },
        }))
          parts.push(part);
        assert.ok(Buffer.concat(parts).equals(expected));
      });

      it("are added to, and each commit shows what it did", async () => {
        await client.uploadBytes({ run: "adding", artifactPath: "a", source: "first" });
        await other.uploadBytes({ run: "adding", artifactPath: "b", source: "second" });
        await client.uploadBytes({ run: "adding", artifactPath: "a", source: "third" });
        assert.equal(await text({ run: "adding" }, "a"), "third");
        assert.equal(await text({ run: "adding" }, "b"), "second");
        await other.download({ run: "adding", commit: 1, localPath: local("first") });
        assert.deepEqual(fs.readdirSync(local("first")), ["a"]);
        assert.equal(fs.readFileSync(local("first/a"), "utf8"), "first");
      });

      it("keep what a tag shows, whatever comes later", async () => {
        await client.createTag("before", { run: "adding", commit: 2 });
        await client.uploadBytes({ run: "adding", artifactPath: "b", source: "later" });
        assert.equal(await text({ tag: "before" }, "b"), "second");
        assert.deepEqual(
          (await other.tags()).map((tag) => tag.name).filter((tag) => tag === "before"),
          ["before"],
        );
        await assert.rejects(other.uploadBytes({ tag: "before", artifactPath: "x", source: "" }), /tag "before" already exists/);
        await other.deleteTag("before");
        await assert.rejects(client.download({ tag: "before", localPath: local("none") }), TagNotFoundError);
        assert.equal(await text({ run: "adding" }, "b"), "later");
      });

      it("are copied between runs in the store", async () => {
        const copied = await client.copy({ tag: "odd", artifactPath: "many", toRun: "copies", toPath: "from/odd" });
        assert.equal(copied.files, 200);
        await other.download({ run: "copies", artifactPath: "from/odd", localPath: local("copied") });
        assert.deepEqual(compareTrees(readTree(odd("many")), readTree(local("copied"))), []);
      });

      it(`have one winner of ${UPLOADS_AT_ONCE} uploads with one tag at once, and the others leave no run`, async () => {
        const before = new Set((await client.runs()).map((run) => run.name));
        // Nobody ends before all have begun, so that none of them can see the tag beforehand.
        const allBegun = new EventEmitter().setMaxListeners(UPLOADS_AT_ONCE);
        let begun = 0;
        async function* source(i: number) {
          if (++begun === UPLOADS_AT_ONCE) allBegun.emit("now");
          else await once(allBegun, "now");
          yield Buffer.from(`upload ${i}`);
        }
        const outcomes = await Promise.allSettled(
          Array.from({ length: UPLOADS_AT_ONCE }, (_, i) =>
            (i % 2 === 0 ? client : other).uploadBytes({ tag: "race", artifactPath: "winner", source: source(i) }),
          ),
        );
        const winners = outcomes.flatMap((outcome, i) => (outcome.status === "fulfilled" ? [{ i, run: outcome.value.run }] : []));
        assert.equal(winners.length, 1, `${winners.length} uploads won`);
        for (const outcome of outcomes) {
          if (outcome.status === "fulfilled") continue;
          assert.ok(outcome.reason instanceof ArtifactsUploadError, String(outcome.reason));
          assert.equal(outcome.reason.message, 'tag "race" already exists');
        }
        const [winner] = winners as [(typeof winners)[0]];
        assert.equal(await text({ tag: "race" }, "winner"), `upload ${winner.i}`);
        assert.deepEqual(
          (await other.runs()).map((run) => run.name).filter((run) => !before.has(run)),
          [winner.run],
        );
      });

      it("can be handled from the command line", async () => {
        const place = { cwd: folder.path, env: { DSTACK_ARTIFACTS_URL: servers[0].url } };
        makeTree(local("cli"), [
          { path: "model/weights", size: 5 * MIB, seed: 9 },
          { path: "model/config.json", text: "0123456789", mtime_ns: "1700000000000000000" },
        ]);
        const bytes = 5 * MIB + 10;
        const { run } = await json(["upload", "cli", "--tag", "cli"], place);
        const [copied, downloaded, listed, range, verified, tags] = await Promise.all([
          json(["cp", ":cli", "cli/model", "cli-copy", "m"], place),
          json(["download", ":cli", "cli", "cli-back"], place),
          json<{ entries: { path: string; size: number }[] }>(["ls", ":cli", "cli/model"], place),
          ok(["cat", ":cli", "cli/model/config.json", "--range", "3-5"], place),
          ok(["verify", ":cli"], place),
          json<{ tags: { name: string; run: string }[] }>(["tags", "ls"], place),
        ]);
        assert.deepEqual(copied, { run: "cli-copy", commit: 1, files: 2, bytes });
        assert.deepEqual(downloaded, { run, commit: 1, files: 2, bytes });
        assert.deepEqual(compareTrees(readTree(local("cli")), readTree(local("cli-back"))), []);
        assert.deepEqual(
          listed.entries.map(({ path, size }) => [path, size]),
          [
            ["cli/model/config.json", 10],
            ["cli/model/weights", 5 * MIB],
          ],
        );
        assert.equal(range, "345");
        assert.match(verified, /all is well/);
        assert.equal(tags.tags.find((tag) => tag.name === "cli")?.run, run);
        const [second, , kept] = await Promise.all([
          fails(["upload", "cli", "--tag", "cli"], place),
          ok(["tags", "create", "cli-copied", "cli-copy"], place),
          fails(["runs", "rm", String(run)], place),
        ]);
        assert.match(second, /tag "cli" already exists/);
        assert.match(kept, /cli/);
      });

      it("are gone when they are deleted and collected, and all others are whole", async () => {
        const place = { cwd: folder.path, env: { DSTACK_ARTIFACTS_URL: servers[1].url } };
        await assert.rejects(client.deleteRun("cli-copy"), /cli-copied/);
        assert.deepEqual(await client.deleteRun("cli-copy", { force: true }), ["cli-copied"]);
        const { run } = await client.tag("odd");
        await client.deleteRun(run, { force: true });
        await assert.rejects(other.download({ run, localPath: local("gone") }), RunNotFoundError);
        const { deleted, deleted_bytes: deletedBytes } = await json<Record<string, number>>(["gc", "--grace", "0s"], place);
        assert.ok((deleted ?? 0) >= 3 && (deletedBytes ?? 0) >= 16 * MIB, `deleted ${deleted} objects of ${deletedBytes} bytes`);
        const runs = (await other.runs()).map((each) => each.name);
        assert.ok(runs.includes("copies") && !runs.includes("cli-copy") && !runs.includes(run), runs.join(", "));
        for (const each of runs) assert.deepEqual((await other.verify({ run: each })).damaged, []);
        fs.rmSync(local("copied"), { recursive: true });
        await client.download({ run: "copies", artifactPath: "from/odd", localPath: local("copied") });
        assert.deepEqual(compareTrees(readTree(odd("many")), readTree(local("copied"))), []);
      });
    });
  }
});
