/**
 * `npm run bench -- [CASE...] [--quick] [--json] [--profile FOLDER] …`: rates, CPU time and memory of what the project does, next to
 * what else could do it, measured in the same rounds. docs/benchmarks.md says how to read what it prints.
 */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { availableParallelism, cpus, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { Figure } from "./measure.ts";
import { NODE_FLAGS } from "./processes.ts";
import { type Machine, type Results, report } from "./report.ts";
import type { Settings } from "./settings.ts";
import type { TreeSize } from "./trees.ts";

type Case = (settings: Settings) => Promise<Figure[]>;
const CASES: Readonly<Record<string, () => Promise<Case>>> = {
  null: async () => (await import("./cases/null.ts")).run,
  memory: async () => (await import("./cases/stores.ts")).memory,
  file: async () => (await import("./cases/stores.ts")).file,
  tmpfs: async () => (await import("./cases/stores.ts")).tmpfs,
  s3: async () => (await import("./cases/stores.ts")).s3,
  languages: async () => (await import("./cases/languages.ts")).languages,
  growth: async () => (await import("./cases/growth.ts")).growth,
  codec: async () => (await import("./cases/codec.ts")).codec,
};
/** Only on demand: it takes long, and needs as much disk as its largest stream has bytes. */
const LONG = ["growth"];
const RESULTS = fileURLToPath(new URL("./results/", import.meta.url));
const KIB = 1024;
const MIB = 1024 * KIB;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    /** One round, a fourth of the bytes and files: whether all works, not how fast. */
    quick: { type: "boolean", default: false },
    rounds: { type: "string" },
    "large-mib": { type: "string" },
    "small-files": { type: "string" },
    "largest-mib": { type: "string", default: "16384" },
    /** The same as naming the case. */
    store: { type: "string", multiple: true, default: [] },
    tcp: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    profile: { type: "string" },
    /** Which of the three trees, by `large`, `medium` and `small`. */
    trees: { type: "string", default: "large,medium,small" },
    /** Leaves out contenders whose names don't hold it. */
    only: { type: "string", multiple: true, default: [] },
    /** Where the folder store's case has its files: on a disk. */
    folder: { type: "string", default: tmpdir() },
    /** Where the others have theirs: in memory, so that they don't measure the disk. */
    memory: { type: "string", default: existsSync("/dev/shm") ? "/dev/shm" : tmpdir() },
  },
});

const scale = values.quick ? 4 : 1;
const largeBytes = Number(values["large-mib"] ?? 1024 / scale) * MIB;
const smallFiles = Number(values["small-files"] ?? 10_000 / scale);
const TREES: Readonly<Record<string, TreeSize>> = {
  large: { files: 1, bytes: largeBytes },
  medium: { files: 1_000 / scale, bytes: 256 * KIB },
  small: { files: smallFiles, bytes: 4 * KIB },
};
function treeOf(name: string): TreeSize {
  const tree = TREES[name];
  if (tree === undefined) throw new Error(`no tree ${name}; there are ${Object.keys(TREES).join(", ")}`);
  return tree;
}
const folder = await mkdtemp(join(values.folder, "dstack-artifacts-bench-"));
const memoryFolder = await mkdtemp(join(values.memory, "dstack-artifacts-bench-"));
if (values.profile !== undefined) await mkdir(values.profile, { recursive: true });
const settings: Settings = {
  rounds: Number(values.rounds ?? (values.quick ? 1 : 5)),
  largeBytes,
  smallFiles,
  largestBytes: Number(values["largest-mib"]) * MIB,
  trees: values.trees.split(",").map((name) => treeOf(name)),
  tcp: values.tcp,
  only: values.only.flatMap((parts) => parts.split(",")),
  profile: values.profile,
  folder,
  memoryFolder,
  progress: (text) => {
    process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${text}` : `${new Date().toISOString().slice(11, 19)} ${text}\n`);
  },
};
const machine: Machine = {
  cpu: cpus()[0]?.model ?? "",
  cores: availableParallelism(),
  memoryGb: Math.round(totalmem() / 1e9),
  node: process.version,
  nodeFlags: NODE_FLAGS.join(" "),
  platform: `${process.platform} ${process.arch}`,
  folder: values.folder,
  memoryFolder: values.memory,
  date: new Date().toISOString(),
};
const asked = [...positionals, ...values.store];
const figures: Figure[] = [];
try {
  for (const name of asked.length > 0 ? asked : Object.keys(CASES).filter((name) => !LONG.includes(name))) {
    const load = CASES[name];
    if (load === undefined) throw new Error(`no case ${name}; there are ${Object.keys(CASES).join(", ")}`);
    figures.push(...(await (await load())(settings)));
  }
} finally {
  for (const made of [folder, memoryFolder]) await rm(made, { recursive: true, force: true });
}
if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
if (figures.length === 0) throw new Error(`nothing was measured: no contender of these cases is called ${settings.only.join(" or ")}`);
const results = JSON.stringify({ machine, figures } satisfies Results, null, 2);
await mkdir(RESULTS, { recursive: true });
await writeFile(join(RESULTS, `${machine.date.replaceAll(":", "-")}.json`), results);
if (values.json) console.log(results);
else
  console.log(`${machine.cpu}, ${machine.cores} cores, ${machine.memoryGb} GB, Node ${machine.node}, ${machine.date}\n${report(figures)}`);
