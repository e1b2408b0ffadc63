/**
 * A power cut on a real file system: its image is copied while it is mounted and in use, and the copy, which has what ext4 had sent to
 * the disk by then, is mounted. In the long form only, since it needs leave to mount; power-cut.test.ts plays every other file system.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import { join } from "node:path";
import { bytesFrom, FAST, newFolder, removeFolders, type Tree } from "./support/folders.ts";
import { digestsOf, lookAt, PROJECT, type Shown } from "./support/look.ts";
import { canMount, mountImage, unmount, unmountAll } from "./support/mounts.ts";
import { IS_LONG, pointsOf } from "./support/points.ts";
import { openFolder } from "./support/store.ts";
import { intercept } from "./support/syscalls.ts";
import { upload } from "./support/upload.ts";

const IMAGE_BYTES = 24 * 1024 * 1024;
/** The journal is written by our fsyncs alone, not by the clock. */
const MOUNT_OPTIONS = "commit=3600";
const POINTS = pointsOf(3, 240);

/** Each adds to one run, or is a run of its own. */
const UPLOADS: readonly { readonly run: string; readonly tree: Tree }[] = Array.from({ length: 8 }, (_, i) => ({
  run: i % 2 === 0 ? "shared" : `own-${i}`,
  tree: { [`f${i}`]: bytesFrom(`f${i}`, 1_000 + i), "d/latest": bytesFrom(`latest${i}`, 70_000) },
}));

function expectedAfter(uploads: number): Record<string, Shown> {
  const runs: Record<string, Shown> = {};
  for (const { run, tree } of UPLOADS.slice(0, uploads)) runs[run] = { ...runs[run], ...digestsOf(tree) };
  return runs;
}

/** When the image is copied: right after a call, or after so many uploads were acknowledged. */
interface Cut {
  readonly call?: number;
  readonly acknowledged?: number;
}

/** Uses a store on an image, and copies the image. Gives how many calls there were, and how many uploads were acknowledged by the cut. */
async function use(
  image: string,
  copy: string,
  cut: Cut,
  isBroken: (isFile: boolean) => boolean,
): Promise<{ calls: number; acknowledged: number }> {
  fs.writeFileSync(image, "");
  fs.truncateSync(image, IMAGE_BYTES);
  const made = spawnSync("mkfs.ext4", ["-q", "-E", "lazy_itable_init=0", image], { encoding: "utf8" });
  assert.equal(made.status, 0, made.stderr);
  const mounted = mountImage(image, MOUNT_OPTIONS);
  let calls = 0;
  let acknowledged = 0;
  let atCut: number | undefined;
  const takeCopy = () => {
    fs.copyFileSync(image, copy);
    atCut = acknowledged;
  };
  intercept(async (call, run) => {
    const broken = call.name === "fsync" && isBroken(fs.fstatSync(call.args[0] as number).isFile());
    const result = broken ? undefined : await run();
    if (call.changes && ++calls === cut.call) takeCopy();
    return result;
  });
  try {
    const artifacts = await openFolder(join(mounted, "store"));
    for (const { run, tree } of UPLOADS) {
      await upload(artifacts, run, undefined, tree);
      if (++acknowledged === cut.acknowledged) takeCopy();
    }
    await artifacts.close();
  } finally {
    intercept(undefined);
    unmount(mounted);
  }
  return { calls, acknowledged: atCut ?? acknowledged };
}

async function problemsIn(copy: string, acknowledged: number): Promise<string | undefined> {
  const mounted = mountImage(copy, MOUNT_OPTIONS);
  try {
    const artifacts = await openFolder(join(mounted, "store"));
    try {
      const { runs } = await lookAt(artifacts);
      const [least, most] = [expectedAfter(acknowledged), expectedAfter(acknowledged + 1)];
      try {
        assert.deepEqual(runs, least);
      } catch {
        assert.deepEqual(runs, most);
      }
      await upload(artifacts, "afterwards", undefined, { a: bytesFrom("a", 10) });
      assert.equal((await artifacts.getRun(PROJECT, "afterwards")).commits, 1);
      return undefined;
    } finally {
      await artifacts.close();
    }
  } catch (error) {
    return String(error);
  } finally {
    unmount(mounted);
  }
}

if (IS_LONG || canMount()) {
  describe("a power cut on ext4", () => {
    after(() => {
      unmountAll();
      removeFolders();
    });

    it("at any moment leaves what was acknowledged, and nothing else is wrong", async () => {
      const folder = newFolder(FAST);
      const [image, copy] = [join(folder, "image"), join(folder, "copy")];
      const { calls } = await use(image, copy, {}, () => false);
      let cuts = 0;
      for (const at of POINTS.of(calls)) {
        const { acknowledged } = await use(image, copy, { call: at }, () => false);
        if (fs.existsSync(copy)) cuts++;
        assert.equal(await problemsIn(copy, acknowledged), undefined, `cut after call ${at} of ${calls}`);
        fs.rmSync(copy);
      }
      POINTS.report("power cuts on ext4", cuts);
    });

    for (const [what, isBroken] of Object.entries({
      files: (isFile: boolean) => isFile,
      folders: (isFile: boolean) => !isFile,
    })) {
      it(`shows that it is needed to fsync ${what}`, async () => {
        const folder = newFolder(FAST);
        const [image, copy] = [join(folder, "image"), join(folder, "copy")];
        const problems: string[] = [];
        for (const acknowledged of [2, 5, 8]) {
          await use(image, copy, { acknowledged }, isBroken);
          const problem = await problemsIn(copy, acknowledged);
          if (problem !== undefined) problems.push(problem);
          fs.rmSync(copy);
        }
        assert.ok(problems.length > 0, "without it nothing is lost");
      });
    }
  });
}
