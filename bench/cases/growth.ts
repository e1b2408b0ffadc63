/** Whether costs grow in a straight line, and memory doesn't: from 1 to 100,000 files, and from 1 MiB to `--largest-mib`, on a store in a folder. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { client } from "../contenders/ours.ts";
import { type Figure, measure } from "../measure.ts";
import type { Settings } from "../settings.ts";
import { type TreeTask, treeTasks } from "../trees.ts";

const MIB = 1024 * 1024;
const FILES = [1, 10, 100, 1_000, 10_000, 100_000];
const FILE_BYTES = 4 * 1024;
const FIRST_BYTES = MIB;
const TIMES = 4;

export async function growth(settings: Settings): Promise<Figure[]> {
  const { folder, memoryFolder, largestBytes, rounds, progress } = settings;
  const figures: Figure[] = [];
  for (const files of FILES) {
    const store = join(folder, "growth");
    const contender = await client("client", { store, folder: memoryFolder });
    const source = join(memoryFolder, "trees");
    try {
      figures.push(...(await measure("growth", [contender], treeTasks(source, { files, bytes: FILE_BYTES }), rounds, 1, progress)));
    } finally {
      await contender.close();
      for (const made of [store, source]) await rm(made, { recursive: true, force: true });
    }
  }
  for (let bytes = FIRST_BYTES; bytes <= largestBytes; bytes *= TIMES) {
    const store = join(folder, "growth");
    const contender = await client("stream-client", { store, folder: memoryFolder });
    const task = { files: 1, bytes, chunkBytes: MIB, source: "stream" };
    const tasks: TreeTask[] = [
      { ...task, name: `up, a stream of ${bytes / MIB} MiB`, direction: "up" },
      { ...task, name: `down, a stream of ${bytes / MIB} MiB`, direction: "down" },
    ];
    try {
      figures.push(...(await measure("growth", [contender], tasks, bytes > 1024 * MIB ? 1 : rounds, 0, progress)));
    } finally {
      await contender.close();
      await rm(store, { recursive: true, force: true });
    }
  }
  return figures;
}
