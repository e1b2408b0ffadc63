/** Files from disk to a store and back, by our server and by what else could do it. The first contender is what ratios refer to. */
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { startVersitygw } from "../../test/servers/s3.ts";
import { bazelRemote, bazelRemoteIsThere } from "../contenders/bazel-remote.ts";
import { copy } from "../contenders/copy.ts";
import { commandLine, library } from "../contenders/ours.ts";
import { rclone, s5cmd } from "../contenders/s3-tools.ts";
import { unary } from "../contenders/unary.ts";
import { type Contender, type Figure, measure } from "../measure.ts";
import type { Settings } from "../settings.ts";
import { treeTasks } from "../trees.ts";

const BUCKET = "bench";

export async function memory(settings: Settings): Promise<Figure[]> {
  const { memoryFolder: folder, profile } = settings;
  return race("memory", settings, folder, [["library", () => library({ store: "memory:", folder, profile })]]);
}

/** A folder on a disk. */
export async function file(settings: Settings): Promise<Figure[]> {
  const { folder } = settings;
  return race("file", settings, folder, await onFolder(settings, folder));
}

/** The same in memory, where a disk hides nothing. */
export async function tmpfs(settings: Settings): Promise<Figure[]> {
  const { memoryFolder: folder } = settings;
  return race("tmpfs", settings, folder, [
    ...(await onFolder(settings, folder)),
    ...(bazelRemoteIsThere() ? [["bazel-remote", () => bazelRemote(folder)] as const] : []),
  ]);
}

async function onFolder({ profile }: Settings, folder: string): Promise<Entrant[]> {
  const store = (name: string) => join(folder, `store-${name}`);
  await mkdir(store("cp"));
  return [
    ["cp", () => copy(store("cp"), folder)],
    ["library", () => library({ store: store("library"), folder, profile })],
    ["command line", () => commandLine({ store: store("command-line"), folder })],
    ["unary", () => unary(folder, { isSafe: false })],
    ["unary", () => unary(folder, { isSafe: true })],
  ];
}

export async function s3(settings: Settings): Promise<Figure[]> {
  const { memoryFolder: folder, profile } = settings;
  const server = await startVersitygw();
  try {
    await server.createBucket(BUCKET);
    const store = `s3://${BUCKET}/ours?endpoint=${server.url}&path_style=true`;
    return await race("s3", settings, folder, [
      ["s5cmd", () => s5cmd(server, BUCKET, folder)],
      ["rclone", () => rclone(server, BUCKET, folder)],
      ["library", () => library({ store, folder, env: server.env, profile })],
    ]);
  } finally {
    await server.stop();
  }
}

/** A contender's name, and how it is made ready. */
type Entrant = readonly [name: string, open: () => Contender | Promise<Contender>];

async function race(name: string, settings: Settings, folder: string, entrants: readonly Entrant[]): Promise<Figure[]> {
  const { trees, rounds, only, progress } = settings;
  const source = join(folder, "trees");
  const contenders: Contender[] = [];
  for (const [contender, open] of entrants) {
    if (only.length === 0 || only.some((part) => contender.includes(part))) contenders.push(await open());
  }
  try {
    const tasks = trees.flatMap((tree) => treeTasks(source, tree));
    return await measure(name, contenders, tasks, rounds, 1, progress);
  } finally {
    for (const contender of contenders) await contender.close();
    await rm(source, { recursive: true, force: true });
  }
}
