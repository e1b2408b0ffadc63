/** The file system refuses, fails or runs out: what is being uploaded can't be seen, all else can, and it goes on when the trouble is over. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import fs from "node:fs";
import { join } from "node:path";
import { StoreError, type StoreErrorKind } from "../../src/store/driver.ts";
import { bytesFrom, FAST, newFolder, removeFolders, type Tree } from "./support/folders.ts";
import { digestsOf, PROJECT, shown } from "./support/look.ts";
import { canMount, mountTmpfs, unmountAll } from "./support/mounts.ts";
import { pointsOf } from "./support/points.ts";
import { openFolder } from "./support/store.ts";
import { intercept, type Syscall, systemError } from "./support/syscalls.ts";
import { upload } from "./support/upload.ts";

/** Calls by which one telling may differ from another: fsyncs and folders that come together are made once. */
const VARIANCE = 4;
const OLD: Tree = { old: bytesFrom("old", 5_000) };
const NEW: Tree = { a: bytesFrom("a", 10), "d/b": bytesFrom("b", 200_000), empty: Buffer.alloc(0) };

/** The kind of the store's error, or `undefined` if there is none. */
async function trouble(work: Promise<unknown>): Promise<StoreErrorKind | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    assert.ok(error instanceof StoreError, String(error));
    assert.ok(!error.message.includes("\n") && error.message.includes("file://"), error.message);
    return error.kind;
  }
}

/** Looks from a server of its own at what a failed upload left. */
async function checkBetween(root: string, succeeded: boolean): Promise<void> {
  const reader = await openFolder(root);
  assert.deepEqual(await shown(reader, { run: "old" }), digestsOf(OLD));
  const names = (await reader.listRuns(PROJECT)).runs.map(({ name }) => name);
  // A commit whose answer was lost is there whole.
  if (succeeded || names.includes("new")) assert.deepEqual(await shown(reader, { run: "new" }), digestsOf(NEW));
  await reader.close();
}

interface Simulated {
  /** The calls that fail so. */
  readonly calls: readonly Syscall["name"][];
  readonly kind: StoreErrorKind;
}

const SIMULATED: Readonly<Record<string, Simulated>> = {
  ENOSPC: { calls: ["open", "writev", "mkdir", "link"], kind: "full" },
  EDQUOT: { calls: ["open", "writev", "mkdir", "link"], kind: "full" },
  EIO: { calls: ["writev", "fsync", "link"], kind: "failed" },
  EACCES: { calls: ["open", "mkdir", "link"], kind: "denied" },
  EROFS: { calls: ["open", "mkdir", "link", "unlink"], kind: "denied" },
};

describe("a file system in trouble", () => {
  after(() => {
    unmountAll();
    removeFolders();
  });
  afterEach(() => intercept(undefined));

  for (const [code, { calls, kind }] of Object.entries(SIMULATED)) {
    it(`that says ${code} to any call of an upload shows nothing of it, and lets it go on later`, async () => {
      const points = pointsOf(12, 200);
      let total = Number.POSITIVE_INFINITY;
      let fired = 0;
      const tell = async (at: number): Promise<void> => {
        const root = join(newFolder(FAST), "store");
        const artifacts = await openFolder(root);
        await upload(artifacts, "old", randomUUID(), OLD);
        const uploadId = randomUUID();
        let n = 0;
        intercept((call, run) => {
          if (!call.changes || !calls.includes(call.name) || ++n !== at) return run();
          fired++;
          return Promise.reject(systemError(code, call.name));
        });
        const found = await trouble(upload(artifacts, "new", uploadId, NEW));
        intercept(undefined);
        total = Math.min(total, n);
        // Taking away a temporary name may fail without harm.
        if (found !== undefined) assert.equal(found, kind, `at call ${at}`);
        await checkBetween(root, found === undefined);
        assert.equal(await upload(artifacts, "new", uploadId, NEW), 1);
        await checkBetween(root, true);
        await artifacts.close();
        removeFolders();
      };
      await tell(0);
      for (const at of points.of(total - VARIANCE)) await tell(at);
      points.report(code, fired);
    });
  }

  it("that has no more files to open for a moment only delays an upload", async () => {
    const root = join(newFolder(FAST), "store");
    const artifacts = await openFolder(root);
    let fired = 0;
    for (let at = 1; at <= 20; at++) {
      let n = 0;
      intercept((call, run) => {
        if (call.name !== "open" || ++n !== at) return run();
        fired++;
        return Promise.reject(systemError("EMFILE", call.name));
      });
      assert.equal(await trouble(upload(artifacts, `run${at}`, randomUUID(), NEW)), undefined);
    }
    intercept(undefined);
    assert.equal(fired, 20);
    await artifacts.close();
  });

  it("that takes only part of what is written to it gets the rest", async () => {
    const root = join(newFolder(FAST), "store");
    const artifacts = await openFolder(root);
    let short = 0;
    intercept((call, run) => {
      const [fd, buffers] = call.args as [number, Uint8Array[]];
      const first = buffers?.[0];
      if (call.name !== "writev" || first === undefined || first.length < 2) return run();
      short++;
      return run(fd, [first.subarray(0, Math.ceil(first.length / 3))]);
    });
    assert.equal(await upload(artifacts, "new", randomUUID(), NEW), 1);
    intercept(undefined);
    assert.ok(short > 20, `${short} short writes`);
    const reader = await openFolder(root);
    assert.deepEqual(await shown(reader, { run: "new" }), digestsOf(NEW));
    await Promise.all([artifacts.close(), reader.close()]);
  });

  it("whose folder can't be written to says whom it must belong to", () => {
    const root = newFolder();
    fs.mkdirSync(join(root, ".tmp"));
    // Root may write anywhere, so that it becomes somebody else.
    const isRoot = process.getuid?.() === 0;
    fs.chmodSync(join(root, ".tmp"), 0o500);
    fs.chmodSync(root, isRoot ? 0o755 : 0o500);
    const worker = join(import.meta.dirname, "..", "store", "file-worker.ts");
    const { stdout } = spawnSync(process.execPath, [worker, "put", root, "a/b", "10"], {
      encoding: "utf8",
      ...(isRoot ? { uid: 65_534, gid: 65_534 } : {}),
    });
    for (const folder of [root, join(root, ".tmp")]) fs.chmodSync(folder, 0o700);
    assert.match(stdout, /^denied .*must belong to the user/);
  });

  // The real thing, where the machine lets us mount.
  for (const [what, { small, enough, kind }] of Object.entries({
    "is full": { small: "size=400k", enough: "size=64m", kind: "full" },
    "has no inodes left": { small: "nr_inodes=45", enough: "nr_inodes=0", kind: "full" },
    "is mounted read-only": { small: "ro", enough: "rw", kind: "denied" },
  })) {
    const where = canMount() ? "itself" : "as the test plays it, since this machine lets nobody mount";
    it(`that ${what} (${where}) shows nothing of an upload, and takes it when it is put right`, async () => {
      const disk = canMount() ? mountTmpfs("size=64m") : undefined;
      const root = join(disk?.path ?? newFolder(FAST), "store");
      const artifacts = await openFolder(root);
      await upload(artifacts, "old", randomUUID(), OLD);
      const uploadId = randomUUID();
      const large = { ...NEW, large: bytesFrom("large", 3_000_000) };
      disk?.remount(small);
      if (!disk) {
        intercept((call, run) =>
          call.name === "open" && call.changes ? Promise.reject(systemError(kind === "full" ? "ENOSPC" : "EROFS", "open")) : run(),
        );
      }
      assert.equal(await trouble(upload(artifacts, "new", uploadId, large)), kind);
      if (kind === "full" || !disk) await checkBetween(root, false);
      disk?.remount(enough);
      intercept(undefined);
      assert.equal(await upload(artifacts, "new", uploadId, large), 1);
      assert.deepEqual(await shown(artifacts, { run: "new" }), digestsOf(large));
      assert.deepEqual(fs.readdirSync(join(root, ".tmp")), []);
      await artifacts.close();
    });
  }
});
