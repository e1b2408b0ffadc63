/** What a process left half done in a folder store doesn't count as durable for those who come after it. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { join } from "node:path";
import { crc32c } from "../../src/lib/crc32c.ts";
import { type Driver, StoreError } from "../../src/store/driver.ts";
import { openFile } from "../../src/store/drivers/file.ts";
import { followDisk, type Moment } from "./support/disk.ts";
import { FAST, newFolder, removeFolders } from "./support/folders.ts";
import { intercept, type Syscall } from "./support/syscalls.ts";

const BYTES = Buffer.from("what was acknowledged");
const KEY = "main/log/r/1";
const HOUR_MS = 60 * 60 * 1000;

const put = (driver: Driver) => driver.putIfAbsent(KEY, [BYTES], { crc32c: crc32c(BYTES) });

/** Runs work until a call to the system that `matches` is due, at which its process dies. */
async function dieBefore(matches: (call: Syscall) => boolean, follow: Parameters<typeof intercept>[0], work: () => Promise<unknown>) {
  await new Promise<void>((died) => {
    intercept(async (call, run) => {
      if (matches(call)) {
        died();
        return new Promise(() => {});
      }
      return follow ? follow(call, run) : run();
    });
    void work();
  });
  intercept(follow);
}

async function isThereAfter(moment: Moment, path: string): Promise<boolean> {
  intercept(undefined);
  const left = newFolder(FAST);
  moment.leave(left, "nothing");
  const found = await (await openFile(join(left, path))).read(KEY, undefined).catch((error: unknown) => {
    if (error instanceof StoreError && error.kind === "notFound") return undefined;
    throw error;
  });
  return found !== undefined && BYTES.equals(found);
}

describe("a folder store that a process left half done", () => {
  afterEach(() => intercept(undefined));
  after(removeFolders);

  it("as it made the store's folder: the next one makes its name durable before it acknowledges", async () => {
    const base = newFolder(FAST);
    const disk = followDisk(base);
    const root = join(base, "above", "store");
    await dieBefore(
      ({ name }) => name === "fsync",
      (call, run) => disk.follow(call, () => run()),
      () => openFile(root),
    );
    const driver = await openFile(root);
    assert.equal(await put(driver), true);
    assert.ok(await isThereAfter(disk.moment(), "above/store"));
  });

  it("as it had linked an object: whoever reads that makes it durable, however old what else was left is", async () => {
    const base = newFolder(FAST);
    const disk = followDisk(base);
    const root = join(base, "store");
    const follow: Parameters<typeof intercept>[0] = (call, run) => disk.follow(call, () => run());
    intercept(follow);
    const driver = await openFile(root);
    let linked = false;
    await dieBefore(
      ({ name }) => linked && name === "open",
      async (call, run) => {
        const result = await disk.follow(call, () => run());
        linked ||= call.name === "link";
        return result;
      },
      () => put(driver),
    );
    intercept(follow);
    const later = await openFile(root, { now: () => Date.now() + 2 * HOUR_MS });
    assert.ok(BYTES.equals(await later.read(KEY, undefined)));
    assert.ok(await isThereAfter(disk.moment(), "store"));
  });

  it("because its disk went away: what could not be made durable is not acknowledged", async () => {
    const root = join(newFolder(FAST), "store");
    const driver = await openFile(root);
    let linked = false;
    intercept(async (call, run) => {
      if (linked && call.name === "open") fs.rmSync(root, { recursive: true, force: true });
      const result = await run();
      linked ||= call.name === "link";
      return result;
    });
    await assert.rejects(put(driver), (error) => error instanceof StoreError && error.kind === "misconfigured");
  });
});
