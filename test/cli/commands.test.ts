/** What each command does and prints, as text and as JSON. */
import { strict as assert } from "node:assert";
import { once } from "node:events";
import fs from "node:fs";
import { join } from "node:path";
import { type TempFolder, tempFolder } from "../client/support.ts";
import { bytesOf, checkTree, makeTree } from "../support/tree.ts";
import { bytes, type CliOptions, cli, fails, installed, json, ok, type Served, serve, start } from "./installed.ts";
import { makeSparseFile } from "./sparse.ts";

const GENERATED = /^[a-z]+-[a-z]+-[1-9][0-9]*$/;
const RFC3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/;
const TREE = [
  { path: "d/a", text: "hello", mode: "640", mtime_ns: "1700000000123456789" },
  { path: "d/sub/b", size: 100_000, seed: 1, mode: "755" },
  { path: "d/empty/", mode: "750" },
];

describe("the command line", function () {
  // Packing and installing take a while on a busy machine.
  this.timeout(300_000);
  let folder: TempFolder;
  let server: Served;
  let at: CliOptions;

  before(async () => {
    await installed();
    folder = tempFolder();
    server = await serve(["--store", join(folder.path, "store"), "--listen", `unix://${folder.path}/s.sock`, "--run", "current"]);
    at = { cwd: folder.path, env: { DSTACK_ARTIFACTS_URL: server.url } };
    makeTree(folder.path, TREE);
  });
  after(async () => {
    await server?.stop();
    folder?.[Symbol.dispose]();
  });

  /** A run of this name with the tree under `d`. */
  const upload = (run: string) => json(["upload", "d", "--run", run], at);

  describe("upload", () => {
    it("prints what it did, as JSON", async () => {
      assert.deepEqual(await json(["upload", "d", "x", "--run", "up-json"], at), {
        run: "up-json",
        commit: 1,
        tag: null,
        files: 2,
        bytes: 100_005,
        skipped: 0,
      });
    });
    it("prints what it did, as one line of text", async () => {
      assert.equal(await ok(["upload", "d", "--run", "up-text"], at), "uploaded 2 files, 97.7 KiB to run up-text, commit 1\n");
    });
    it("goes to the server's current run if it names none", async () => {
      assert.equal((await json(["upload", "d"], at))["run"], "current");
    });
    it("with a tag goes to a new run of a generated name", async () => {
      const { run, tag } = await json(["upload", "d", "--tag", "up-tag"], at);
      assert.equal(tag, "up-tag");
      assert.match(String(run), GENERATED);
    });
    it("warns of what it leaves out, and counts it", async () => {
      makeTree(folder.path, [
        { path: "fifos/a", text: "1" },
        { path: "fifos/pipe", fifo: true },
      ]);
      const { code, stdout, stderr } = await cli(["upload", "fifos", "--run", "up-fifo", "--json"], at);
      assert.equal(code, 0);
      assert.equal(JSON.parse(stdout).skipped, 1);
      assert.match(stderr, /^warning: .*fifos\/pipe is not a file or folder, and was left out\n$/);
    });
    it("stores links as links with --symlinks preserve, and follows them otherwise", async () => {
      makeTree(folder.path, [
        { path: "links/a", text: "1" },
        { path: "links/b", link: "a" },
      ]);
      await ok(["upload", "links", ".", "--run", "up-links", "--symlinks", "preserve"], at);
      await ok(["upload", "links", "followed", "--run", "up-links"], at);
      await ok(["download", "up-links", "", "links-out"], at);
      checkTree(join(folder.path, "links-out"), [
        { path: "a", text: "1" },
        { path: "b", link: "a" },
        { path: "followed/a", text: "1" },
        { path: "followed/b", text: "1" },
      ]);
    });
  });

  describe("download", () => {
    it("prints what it did, as JSON and as one line of text", async () => {
      await upload("down");
      assert.deepEqual(await json(["download", "down", "d", "down-1"], at), { run: "down", commit: 1, files: 2, bytes: 100_005 });
      assert.equal(await ok(["download", "down", "d", "down-2"], at), "downloaded 2 files, 97.7 KiB of run down, commit 1, to down-2\n");
      checkTree(
        join(folder.path, "down-2"),
        TREE.map((entry) => ({ ...entry, path: entry.path.slice(2) })),
      );
    });
    it("takes everything to the working directory by default", async () => {
      await upload("down-all");
      fs.mkdirSync(join(folder.path, "elsewhere"));
      await ok(["download", "down-all"], { ...at, cwd: join(folder.path, "elsewhere") });
      checkTree(join(folder.path, "elsewhere"), TREE);
    });
    it("takes a tag as :TAG and a commit as RUN@COMMIT", async () => {
      makeTree(folder.path, [{ path: "v/f", text: "one" }]);
      await ok(["upload", "v", ".", "--run", "versions"], at);
      await ok(["tags", "create", "v1", "versions"], at);
      makeTree(folder.path, [{ path: "v/f", text: "two" }]);
      await ok(["upload", "v", ".", "--run", "versions"], at);
      for (const [reference, expected] of [
        ["versions", "two"],
        ["versions@1", "one"],
        ["versions@2", "two"],
        [":v1", "one"],
      ] as const)
        assert.equal(await ok(["cat", reference, "f"], at), expected, reference);
    });
  });

  describe("ls", () => {
    it("lists one level, or with -r all of them, with totals of all that is under the prefix", async () => {
      await upload("listed");
      const level = await json<{ entries: { path: string; type: string }[]; files: number; bytes: number }>(["ls", "listed", "d"], at);
      assert.deepEqual(
        level.entries.map(({ path, type }) => `${type} ${path}`),
        ["file d/a", "folder d/empty", "folder d/sub"],
      );
      assert.deepEqual([level.files, level.bytes], [2, 100_005]);
      const all = await json<{ entries: { path: string }[] }>(["ls", "listed", "-r"], at);
      assert.deepEqual(
        all.entries.map(({ path }) => path),
        ["d", "d/a", "d/empty", "d/sub", "d/sub/b"],
      );
    });
    it("gives each entry's whole path, mode in octal, time to the nanosecond and checksum; what is absent is null", async () => {
      await upload("fields");
      const { entries } = await json<{ entries: Record<string, unknown>[] }>(["ls", "fields", "d"], at);
      const [file, empty] = entries;
      const same = { path: "d/a", type: "file", size: 5, mode: "0640", mtime: "2023-11-14T22:13:20.123456789Z", crc32c: "9a71bb4c" };
      assert.deepEqual({ ...file, target: undefined }, { ...same, target: undefined });
      assert.deepEqual([empty?.["size"], empty?.["crc32c"], empty?.["mode"]], [null, null, "0750"]);
    });
    it("prints a table for people", async () => {
      await upload("table");
      const { stdout, stderr } = await cli(["ls", "table", "d"], at);
      assert.match(stdout, /^MODE +SIZE +MODIFIED +PATH\n0640 +5 B +\d{4}-\d\d-\d\d \d\d:\d\d +d\/a\n0750 .+d\/empty\/\n.+d\/sub\/\n$/);
      assert.equal(stderr, "2 files, 97.7 KiB\n");
    });
    it("shows no control characters of a link's target to a terminal", async () => {
      makeTree(folder.path, [{ path: "esc/l", link: "\u001b[31mred" }]);
      await ok(["upload", "esc", ".", "--run", "esc", "--symlinks", "preserve"], at);
      assert.match(await ok(["ls", "esc"], at), /l -> \\x1b\[31mred\n$/);
    });
  });

  describe("runs and tags", () => {
    it("are listed as JSON with names, counts, times and each other", async () => {
      await upload("r1");
      await ok(["tags", "create", "r1-tag", "r1", "d/sub"], at);
      const { runs } = await json<{ runs: Record<string, unknown>[] }>(["runs", "ls"], at);
      const { created, ...run } = runs.find(({ name }) => name === "r1") ?? {};
      assert.deepEqual(run, { name: "r1", commits: 1, files: 2, bytes: 100_005, tags: ["r1-tag"] });
      assert.match(String(created), RFC3339);
      const { tags } = await json<{ tags: Record<string, unknown>[] }>(["tags", "ls"], at);
      const tag = tags.find(({ name }) => name === "r1-tag") ?? {};
      assert.deepEqual({ ...tag, created: "" }, { name: "r1-tag", run: "r1", commit: 1, path: "d/sub", created: "" });
      assert.match(String(tag["created"]), RFC3339);
    });
    it("are listed as tables", async () => {
      await upload("r2");
      assert.match(await ok(["runs", "ls"], at), /^NAME +COMMITS +FILES +SIZE +CREATED +TAGS\n/);
      await ok(["tags", "create", "r2-tag", "r2@1"], at);
      assert.match(await ok(["tags", "ls"], at), /^NAME +RUN +COMMIT +PATH +CREATED\n/);
    });
    it("a tag without a path has null for it", async () => {
      await upload("r3");
      assert.equal((await json(["tags", "create", "r3-tag", "r3"], at))["path"], null);
    });
    it("a run with tags is deleted with --force alone, and its tags with it", async () => {
      await upload("doomed");
      await ok(["tags", "create", "doomed-1", "doomed"], at);
      await ok(["tags", "create", "doomed-2", "doomed"], at);
      assert.match(await fails(["runs", "rm", "doomed"], at), /"doomed".*doomed-1.*doomed-2/);
      assert.deepEqual(await json(["runs", "rm", "doomed", "--force"], at), { run: "doomed", tags: ["doomed-1", "doomed-2"] });
      assert.match(await fails(["ls", ":doomed-1"], at), /"doomed-1"/);
      assert.match(await fails(["ls", "doomed"], at), /"doomed"/);
    });
    it("a tag is deleted and its run stays", async () => {
      await upload("stays");
      await ok(["tags", "create", "goes", "stays"], at);
      assert.equal(await ok(["tags", "rm", "goes"], at), "deleted tag goes\n");
      await ok(["ls", "stays"], at);
    });
  });

  describe("cat", () => {
    it("writes a file's bytes, or a range with both ends included", async () => {
      await upload("cat");
      assert.ok((await bytes(["cat", "cat", "d/sub/b"], at)).equals(bytesOf(1, 100_000)));
      assert.equal(await ok(["cat", "cat", "d/a", "--range", "1-3"], at), "ell");
      assert.equal(await ok(["cat", "cat", "d/a", "--range", "0-0"], at), "h");
      assert.equal(await ok(["cat", "cat", "d/a", "--range", "3-"], at), "lo");
      assert.equal(await ok(["cat", "cat", "d/a", "--range", "1-99"], at), "ello");
    });
    it("refuses a range that is none, and one behind the end", async () => {
      await upload("cat-2");
      for (const range of ["x", "3-1", "-3", "1", "1-2-3"])
        assert.match(await fails(["cat", "cat-2", "d/a", `--range=${range}`], at), /range/);
      assert.match(await fails(["cat", "cat-2", "d/a", "--range", "5-6"], at), /d\/a/);
    });
    it("prints one JSON value with --json", async () => {
      await upload("cat-3");
      const told = await json<{ base64: string; bytes: number }>(["cat", "cat-3", "d/sub/b"], at);
      assert.ok(Buffer.from(told.base64, "base64").equals(bytesOf(1, 100_000)));
      assert.equal(told.bytes, 100_000);
    });
    it("refuses a folder and what isn't there", async () => {
      await upload("cat-4");
      assert.match(await fails(["cat", "cat-4", "d"], at), /"d"/);
      assert.match(await fails(["cat", "cat-4", "d/nothing"], at), /d\/nothing/);
    });
  });

  describe("cp", () => {
    it("adds to a run as one commit, at the same path or another", async () => {
      await upload("from");
      assert.deepEqual(await json(["cp", "from", "d", "to"], at), { run: "to", commit: 1, files: 2, bytes: 100_005 });
      assert.equal(await ok(["cp", "from", "d/a", "to", "other/name"], at), "copied 1 file, 5 B to run to, commit 2\n");
      await ok(["cp", "from", "d/sub", "to", "."], at);
      const { entries } = await json<{ entries: { path: string }[] }>(["ls", "to", "-r"], at);
      assert.deepEqual(
        entries.map(({ path }) => path),
        ["b", "d", "d/a", "d/empty", "d/sub", "d/sub/b", "other/name"],
      );
    });
    it("refuses one file as the root", async () => {
      await upload("from-2");
      assert.match(await fails(["cp", "from-2", "d/a", "to-2", "."], at), /root/);
    });
  });

  describe("verify", () => {
    it("is silent of damage where there is none", async () => {
      await upload("sound");
      assert.equal(await ok(["verify", "sound"], at), "verified 2 files, 97.7 KiB: all is well\n");
      assert.deepEqual(await json(["verify", "sound"], at), { files: 2, bytes: 100_005, damaged: [] });
    });
    it("tells of each damaged file on stderr, and exits with 1", async () => {
      makeTree(folder.path, [{ path: "big/one", size: 300_000, seed: 9 }]);
      await using own = await serve(["--store", join(folder.path, "store2"), "--listen", `unix://${folder.path}/s2.sock`]);
      const there = { ...at, env: { DSTACK_ARTIFACTS_URL: own.url } };
      await ok(["upload", "big", ".", "--run", "hurt"], there);
      damage(join(folder.path, "store2"), bytesOf(9, 300_000));
      const { code, stderr } = await cli(["verify", "hurt"], there);
      assert.equal(code, 1);
      assert.match(stderr, /^error: one: .+\n$/);
      const asJson = await cli(["verify", "hurt", "--json"], there);
      assert.equal(asJson.code, 1);
      assert.equal(JSON.parse(asJson.stdout).damaged[0].path, "one");
    });
  });

  describe("gc", () => {
    it("removes with --grace 0s what a deleted run had, and with --dry-run nothing", async () => {
      await using own = await serve(["--store", join(folder.path, "store3"), "--listen", `unix://${folder.path}/s3.sock`]);
      const there = { ...at, env: { DSTACK_ARTIFACTS_URL: own.url } };
      await json(["upload", "d", "--run", "kept"], there);
      makeTree(folder.path, [{ path: "e/x", size: 50_000, seed: 5 }]);
      await json(["upload", "e", "--run", "gone"], there);
      await ok(["runs", "rm", "gone"], there);
      const would = await json<{ deleted: number; deleted_bytes: number }>(["gc", "--grace", "0s", "--dry-run"], there);
      const did = await json<{ deleted: number; deleted_bytes: number }>(["gc", "--grace", "0s"], there);
      assert.ok(did.deleted_bytes >= 50_000);
      assert.equal(would.deleted, did.deleted);
      // The next removes what the first one left to shut the door on the upload, and then nothing is left to do.
      await ok(["gc", "--grace", "0s"], there);
      assert.equal((await json<{ deleted: number }>(["gc", "--grace", "0s"], there)).deleted, 0);
      await ok(["verify", "kept"], there);
    });
    it("keeps what is younger than 24 h by default", async () => {
      assert.equal((await json<{ deleted: number }>(["gc"], at)).deleted, 0);
    });
    it("refuses what is no duration", async () => {
      for (const text of ["", "1", "x", "1w", "-1h"]) assert.match(await fails(["gc", `--grace=${text}`], at), /duration/);
    });
  });

  describe("uploads", () => {
    it("lists what was cut off, `upload --resume` goes on with it, and then it is gone", async () => {
      fs.mkdirSync(join(folder.path, "large"));
      makeSparseFile(join(folder.path, "large/zeros"), 1024 ** 3);
      const data = () =>
        fs.readdirSync(join(folder.path, "store"), { recursive: true }).filter((path) => String(path).includes("/data/")).length;
      const before = data();
      const child = await start(["upload", "large", ".", "--tag", "resumed"], at);
      const ended = once(child, "exit");
      while (data() < before + 8) await new Promise((resolve) => setTimeout(resolve, 5));
      child.kill("SIGKILL");
      await ended;
      assert.match(await fails(["ls", ":resumed"], at), /"resumed"/);

      const { uploads } = await json<{ uploads: { id: string; tag: string }[] }>(["uploads", "ls"], at);
      const id = uploads.find(({ tag }) => tag === "resumed")?.id as string;
      const resumed = await json(["upload", "large", ".", "--tag", "resumed", "--resume", id], at);
      assert.deepEqual([resumed["files"], resumed["bytes"], resumed["tag"]], [1, 1024 ** 3, "resumed"]);
      assert.ok(!(await ok(["uploads", "ls"], at)).includes(id));
      await ok(["verify", ":resumed"], at);
    });
    it("can be aborted, and never finished then", async () => {
      const { uploads } = await json<{ uploads: unknown[] }>(["uploads", "ls"], at);
      assert.deepEqual(uploads, []);
      assert.match(await fails(["uploads", "rm", "no-such-upload-id-0000"], at), /no-such-upload-id-0000/);
    });
  });
});

/** Flips a bit of what is stored of these bytes, wherever it lies. */
function damage(store: string, content: Buffer): void {
  const needle = content.subarray(0, 64);
  for (const each of fs.readdirSync(store, { recursive: true, withFileTypes: true })) {
    if (!each.isFile()) continue;
    const path = join(each.parentPath, each.name);
    const stored = fs.readFileSync(path);
    const found = stored.indexOf(needle);
    if (found < 0) continue;
    stored[found + 1000] = (stored[found + 1000] ?? 0) ^ 1;
    fs.chmodSync(path, 0o644);
    fs.writeFileSync(path, stored);
    return;
  }
  throw new Error("the bytes were not found in the store");
}
