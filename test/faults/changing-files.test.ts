/** Files that change, grow, shrink or vanish while they are read: what is uploaded is one state of the file, or an error that names it. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { join } from "node:path";
import type { Artifacts } from "../../src/artifacts/types.ts";
import { type ArtifactsClient, createClient } from "../../src/client/client.ts";
import type { RunningServer } from "../../src/server/server.ts";
import { bytesFrom, FAST, newFolder, removeFolders } from "./support/folders.ts";
import { digestsOf, PROJECT, shown } from "./support/look.ts";
import { serve } from "./support/server.ts";
import { openFolder } from "./support/store.ts";

const SIZES = { small: 5_000, large: 3_000_000 };
type Size = keyof typeof SIZES;

const CHANGES: Readonly<Record<string, (path: string, time: number) => void>> = {
  grows: (path, time) => fs.appendFileSync(path, `more ${time}`),
  shrinks: (path, time) => fs.truncateSync(path, Math.floor(fs.statSync(path).size / 2) - time),
  changes: (path, time) => fs.writeFileSync(path, bytesFrom(`changed ${time}`, fs.statSync(path).size)),
};

/** Calls back before each reading of a file of this process, until it is taken back. */
function onReading(tell: () => void): () => void {
  const { readSync } = fs;
  const fd = fs.openSync(import.meta.filename, "r");
  fs.closeSync(fd);
  fs.readSync = ((...args: Parameters<typeof readSync>) => {
    tell();
    return readSync(...args);
  }) as typeof readSync;
  return () => {
    fs.readSync = readSync;
  };
}

async function onHandleReading(tell: () => void): Promise<() => void> {
  const handle = await fs.promises.open(import.meta.filename);
  const prototype = Object.getPrototypeOf(handle) as fs.promises.FileHandle;
  await handle.close();
  const { read } = prototype;
  prototype.read = function (this: fs.promises.FileHandle, ...args: unknown[]) {
    tell();
    return (read as (...args: unknown[]) => unknown).apply(this, args);
  } as typeof read;
  return () => {
    prototype.read = read;
  };
}

describe("a file that is uploaded", () => {
  let artifacts: Artifacts;
  let server: RunningServer;
  let client: ArtifactsClient;
  let local: string;
  let runs = 0;
  before(async () => {
    const folder = newFolder(FAST);
    artifacts = await openFolder(join(folder, "store"));
    server = await serve(artifacts, join(folder, "server.sock"));
    client = createClient({ url: `unix://${join(folder, "server.sock")}`, env: {} });
    local = join(folder, "local");
  });
  after(async () => {
    await client.close();
    await server.close();
    await artifacts.close();
    removeFolders();
  });

  /** Uploads a file that is changed at its first readings, so often. Gives how often it was. */
  async function uploadChanging(size: Size, change: (path: string, time: number) => void, times: number, run: string): Promise<number> {
    fs.rmSync(local, { recursive: true, force: true });
    fs.mkdirSync(local);
    const path = join(local, "file");
    fs.writeFileSync(path, bytesFrom("first", SIZES[size]));
    fs.writeFileSync(join(local, "other"), "other");
    let changed = 0;
    let readings = 0;
    // A large file is read in several chunks, and changes after the first.
    const from = size === "small" ? 1 : 2;
    const tell = () => {
      if (++readings >= from && changed < times) change(path, ++changed);
    };
    const restore = [onReading(tell), await onHandleReading(tell)];
    try {
      await client.upload({ localPath: local, artifactPath: "", run });
      return changed;
    } finally {
      for (const back of restore) back();
    }
  }

  for (const size of Object.keys(SIZES) as Size[]) {
    for (const [what, change] of Object.entries(CHANGES)) {
      it(`(${size}) and ${what} once while it is read is read again`, async () => {
        const run = `run-${++runs}`;
        assert.equal(await uploadChanging(size, change, 1, run), 1);
        const expected = { file: fs.readFileSync(join(local, "file")), other: Buffer.from("other") };
        assert.deepEqual(await shown(artifacts, { run }), digestsOf(expected));
      });

      it(`(${size}) and ${what} each time is an error that names it, and nothing can be seen`, async () => {
        const run = `run-${++runs}`;
        await assert.rejects(uploadChanging(size, change, 100, run), (error: Error) => {
          assert.match(error.message, /local\/file changed while it was read/);
          return true;
        });
        assert.ok(!(await artifacts.listRuns(PROJECT, { pageSize: 1000 })).runs.some(({ name }) => name === run));
      });
    }

    it(`(${size}) and is replaced by another while it is read is whole, as it was`, async () => {
      const run = `run-${++runs}`;
      const replace = (path: string) => {
        fs.writeFileSync(`${local}.new`, bytesFrom("another", SIZES[size] + 10));
        fs.renameSync(`${local}.new`, path);
      };
      assert.equal(await uploadChanging(size, replace, 1, run), 1);
      assert.deepEqual(await shown(artifacts, { run }), digestsOf({ file: bytesFrom("first", SIZES[size]), other: Buffer.from("other") }));
    });

    it(`(${size}) and vanishes while the tree is read is an error that names it, and nothing can be seen`, async () => {
      const run = `run-${++runs}`;
      fs.rmSync(local, { recursive: true, force: true });
      fs.mkdirSync(local);
      fs.writeFileSync(join(local, "a"), "first");
      fs.writeFileSync(join(local, "b"), bytesFrom("b", SIZES[size]));
      const restore = onReading(() => fs.rmSync(join(local, "b"), { force: true }));
      try {
        await assert.rejects(client.upload({ localPath: local, artifactPath: "", run }), /local\/b/);
      } finally {
        restore();
      }
      assert.ok(!(await artifacts.listRuns(PROJECT, { pageSize: 1000 })).runs.some(({ name }) => name === run));
    });
  }
});
