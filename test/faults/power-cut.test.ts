/** The power goes at any moment: what the folder store has said to be there is there, and nothing else is wrong. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { join } from "node:path";
import { crc32c } from "../../src/lib/crc32c.ts";
import { type Driver, StoreError } from "../../src/store/driver.ts";
import { openFile } from "../../src/store/drivers/file.ts";
import { type Disk, followDisk, type Luck, type Moment } from "./support/disk.ts";
import { bytesFrom, FAST, newFolder, removeFolders } from "./support/folders.ts";
import { IS_LONG, pointsOf } from "./support/points.ts";
import { intercept } from "./support/syscalls.ts";

const POINTS = pointsOf(40, 400);

/** What the store has said, and at which call to the system. */
interface Said {
  readonly at: number;
  readonly key: string;
  /** What is there from then on; `undefined` if it is gone. */
  readonly bytes: Buffer | undefined;
}

/** What is done at a time, so that a broken fsync can be told by what it was for. */
type Phase = "open" | "put" | "put that loses" | "read" | "list" | "delete";

interface Story {
  readonly calls: number;
  readonly moments: ReadonlyMap<number, Moment>;
  readonly said: readonly Said[];
  /** Keys that somebody has begun to put or delete, and when: until they say so, both states are fine. */
  readonly begun: readonly { readonly at: number; readonly key: string }[];
}

/** A store is used, by several processes, one of which dies on the way; a broken fsync does nothing. */
async function tell(isBroken: (phase: Phase, folder: string | undefined) => boolean, wanted: (call: number) => boolean): Promise<Story> {
  const base = newFolder(FAST);
  const root = join(base, "above", "store");
  let phase: Phase = "open";
  const disk: Disk = followDisk(base, (path, isFile) => !isBroken(phase, isFile ? undefined : path.slice(base.length + 1)));
  const moments = new Map<number, Moment>();
  const said: Said[] = [];
  const begun: { at: number; key: string }[] = [];
  let calls = 0;
  let stranded: string | undefined;
  let isStranded = (): void => {};
  intercept(async (call, run) => {
    const result = await disk.follow(call, () => run());
    if (call.changes) {
      calls++;
      if (wanted(calls)) moments.set(calls, disk.moment());
    }
    if (call.name === "link" && stranded !== undefined && String(call.args[1]).endsWith(stranded)) {
      stranded = undefined;
      isStranded();
      // Its process died here.
      return new Promise(() => {});
    }
    return result;
  });
  try {
    const driver = await openFile(root);
    const other = await openFile(root);
    const say = (key: string, bytes: Buffer | undefined) => said.push({ at: calls, key, bytes });
    const put = async (key: string, size = 100): Promise<void> => {
      const bytes = bytesFrom(key, size);
      begun.push({ at: calls, key });
      await driver.putIfAbsent(key, [bytes], { crc32c: crc32c(bytes) });
      say(key, bytes);
    };
    const die = (key: string): Promise<void> => {
      stranded = key;
      begun.push({ at: calls, key });
      const bytes = bytesFrom(key, 100);
      return new Promise((resolve) => {
        isStranded = resolve;
        void driver.putIfAbsent(key, [bytes], { crc32c: crc32c(bytes) });
      });
    };

    phase = "put";
    for (const key of ["main/runs/r", "main/log/r/1", "main/log/r/2"]) await put(key);
    await put("main/data/u/a/1", 100_000);
    await put("main/data/u/a/2", 5_000);
    await Promise.all(Array.from({ length: 16 }, (_, i) => put(`main/data/v/${i % 3}/${i}`, 1_000)));

    await die("main/log/r/3");
    phase = "put that loses";
    assert.equal(await other.putIfAbsent("main/log/r/3", [Buffer.from("x")], { crc32c: crc32c(Buffer.from("x")) }), false);
    say("main/log/r/3", bytesFrom("main/log/r/3", 100));

    phase = "put";
    await die("main/tags/t/1");
    phase = "read";
    say("main/tags/t/1", Buffer.from(await other.read("main/tags/t/1", undefined)));

    phase = "put";
    await die("main/ended/u");
    phase = "list";
    for (const { key } of (await other.list("main/ended/")).objects) say(key, bytesFrom(key, 100));

    phase = "delete";
    for (const key of ["main/data/u/a/1", "main/data/u/a/2"]) {
      begun.push({ at: calls, key });
      await driver.delete(key);
      say(key, undefined);
    }
    // Its folder was empty, and is another one now.
    phase = "put";
    await put("main/data/u/a/3");
    return { calls, moments, said, begun };
  } finally {
    intercept(undefined);
    fs.rmSync(base, { recursive: true });
  }
}

/** What is wrong with what a cut at a moment left. */
async function problemsAfter(story: Story, at: number, luck: Luck): Promise<string[]> {
  const left = newFolder(FAST);
  story.moments.get(at)?.leave(left, luck);
  const problems: string[] = [];
  const driver = await openFile(join(left, "above", "store"));
  const expected = new Map<string, Said>();
  for (const one of story.said) if (one.at <= at) expected.set(one.key, one);
  const underWay = (key: string, since: number) => story.begun.some((one) => one.key === key && one.at >= since && one.at <= at);
  for (const [key, { bytes, at: since }] of expected) {
    const found = await readOrNothing(driver, key);
    if (underWay(key, since) && found === undefined) continue;
    if (bytes === undefined ? found !== undefined : !found?.equals(bytes))
      problems.push(`${key} is ${found ? "not what was put" : "gone"}`);
  }
  for (const { key } of (await driver.list("main/")).objects) {
    try {
      await driver.read(key, undefined);
    } catch (error) {
      problems.push(`${key} is there, and can't be read: ${error}`);
    }
  }
  await driver.close();
  fs.rmSync(left, { recursive: true });
  return problems;
}

async function readOrNothing(driver: Driver, key: string): Promise<Buffer | undefined> {
  try {
    return Buffer.from(await driver.read(key, undefined));
  } catch (error) {
    if (error instanceof StoreError && error.kind === "notFound") return undefined;
    return Buffer.from(`damaged: ${error}`);
  }
}

/** Numbers from 0 up to 1 that are the same each time. */
function dice(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

const NEVER = () => false;

describe("a power cut", () => {
  after(removeFolders);

  it("at any moment leaves what the store has said to be there, and of the rest nothing that is wrong", async () => {
    const { calls } = await tell(NEVER, NEVER);
    assert.ok(calls > 150, `${calls} calls`);
    const points = new Set(POINTS.of(calls));
    const story = await tell(NEVER, (call) => points.has(call));
    let cuts = 0;
    for (const at of story.moments.keys()) {
      const chances: Luck[] = ["nothing", "everything", ...Array.from({ length: IS_LONG ? 5 : 2 }, (_, i) => dice(at * 31 + i))];
      for (const [i, luck] of chances.entries()) {
        assert.deepEqual(await problemsAfter(story, at, luck), [], `cut at call ${at}, luck ${i}`);
        cuts++;
      }
    }
    console.log(`      power cuts: ${story.moments.size} moments, ${cuts} disks`);
  });

  describe("shows that it is needed to fsync", () => {
    const FSYNCS: Readonly<Record<string, Parameters<typeof tell>[0]>> = {
      "an object's file": (_, folder) => folder === undefined,
      "the folder of a new object": (phase, folder) => phase === "put" && /^above\/store\/main\/(runs|\w+\/\w+)/.test(folder ?? ""),
      "each folder above it": (phase, folder) => phase === "put" && folder === "above/store/main/data",
      "the project's folder": (phase, folder) => phase === "put" && folder === "above/store/main",
      "the store's folder": (phase, folder) => phase === "put" && folder === "above/store",
      "the folder of the store's folder": (_, folder) => folder === "above",
      "the folder that this lies in": (_, folder) => folder === "",
      "the folder of an object that a put finds there": (phase) => phase === "put that loses",
      "the folder of an object that is read": (phase) => phase === "read",
      "the folder of an object that is listed": (phase) => phase === "list",
      "the folder of an object that is deleted": (phase) => phase === "delete",
    };
    for (const [what, isBroken] of Object.entries(FSYNCS)) {
      it(what, async () => {
        const story = await tell(isBroken, () => true);
        let problems = 0;
        for (const at of story.moments.keys()) problems += (await problemsAfter(story, at, "nothing")).length;
        assert.ok(problems > 0, "without it nothing is lost");
      });
    }
  });
});
