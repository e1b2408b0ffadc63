/**
 * `node bench/scale.ts [--files N] [--commits N] [--json]`: what large runs cost. In one process over a store in a folder, without the wire, so
 * that its times and memory are those of manifests, views and the log.
 */
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Artifacts } from "../src/artifacts/types.ts";
import { openArtifacts } from "../src/compose.ts";
import { crc32c } from "../src/lib/crc32c.ts";
import { median } from "./measure.ts";

const PROJECT = "main";
const FILES_IN_FOLDER = 1_000;
const FILE = Buffer.alloc(16, 7);
const FILE_CRC = crc32c(FILE);
const TRIES = 9;

const { values } = parseArgs({
  options: {
    files: { type: "string", default: "1000000" },
    commits: { type: "string", default: "10000" },
    folder: { type: "string", default: tmpdir() },
    json: { type: "boolean", default: false },
  },
});
const files = Number(values.files);
const commits = Number(values.commits);

async function time<T>(work: () => Promise<T>): Promise<{ ms: number; result: T }> {
  const before = performance.now();
  const result = await work();
  return { ms: performance.now() - before, result };
}

/** Median of the times of some calls. */
async function medianMs(work: (i: number) => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < TRIES; i++) times.push((await time(() => work(i))).ms);
  return median(times);
}

async function add(artifacts: Artifacts, run: string, paths: Iterable<string>): Promise<void> {
  const session = await artifacts.startUpload({ project: PROJECT, uploadId: randomUUID(), run });
  let count = 0;
  try {
    for (const path of paths) {
      await session.file({ path, type: "file", size: FILE.length, mode: 0o644, mtimeNs: 1n });
      const wait = session.chunk(FILE);
      if (wait) await wait;
      await session.endFile({ size: FILE.length, crc32c: FILE_CRC });
      count++;
    }
    await session.finish({ files: count, bytes: count * FILE.length });
  } finally {
    await session.close();
  }
}

function* paths(count: number): Generator<string> {
  for (let i = 0; i < count; i++)
    yield `folder-${String(Math.floor(i / FILES_IN_FOLDER)).padStart(6, "0")}/file-${i % FILES_IN_FOLDER}.bin`;
}

async function drain(source: AsyncIterable<readonly unknown[]>): Promise<number> {
  let events = 0;
  for await (const batch of source) events += batch.length;
  return events;
}

/** The most memory that this process has had, in MB. */
const peakMb = () => process.resourceUsage().maxRSS / 1000;

const folder = await mkdtemp(join(values.folder, "dstack-artifacts-scale-"));
const figures: Record<string, number> = {};
const note = (name: string, value: number) => {
  figures[name] = Math.round(value * 1000) / 1000;
  if (!values.json) console.log(`${name.padEnd(72)} ${value < 10 ? value.toFixed(2) : value.toFixed(0)}`);
};
const open = async () => (await openArtifacts(join(folder, "store"))).artifacts;
try {
  let artifacts = await open();
  note("peak memory before, MB", peakMb());
  await add(artifacts, "empty", ["warm-up"]);
  note(`writing a commit of ${files} files, s`, (await time(() => add(artifacts, "large", paths(files)))).ms / 1000);
  note("peak memory after writing it, MB", peakMb());
  await artifacts.close();

  artifacts = await open();
  const folders = Math.ceil(files / FILES_IN_FOLDER);
  const nth = (i: number) => `folder-${String(i % folders).padStart(6, "0")}`;
  const middle = nth(folders >> 1);
  const list = (prefix: string) => artifacts.listEntries(PROJECT, { run: "large" }, { prefix });
  note("first listing of a folder at a fresh server, ms", (await time(() => list(middle))).ms);
  note("listing of a folder, ms", await medianMs((i) => list(nth(i * 3))));
  note("listing of the root, ms", await medianMs(() => list("")));
  const empty = await medianMs((i) => add(artifacts, `empty-${i}`, ["file"]));
  note("adding a file to an empty run, ms", empty);
  note("the same to the large run, as a multiple", (await medianMs((i) => add(artifacts, "large", [`added-${i}/file`]))) / empty);
  note("listing of a folder after that, ms", await medianMs(() => list(middle)));
  note("reading all of it, s", (await time(() => drain(artifacts.download({ project: PROJECT, reference: { run: "large" } })))).ms / 1000);
  note("peak memory after reading it, MB", peakMb());
  // Past the next fold, whose work is in the background.
  for (let i = 0; i < 16; i++) await add(artifacts, "large", [`more-${i}/file`]);
  note("closing, with the fold that is due, s", (await time(() => artifacts.close())).ms / 1000);
  note("peak memory after folding, MB", peakMb());

  artifacts = await open();
  const tenth = Math.ceil(commits / 10);
  const ms: number[] = [];
  for (let i = 0; i < commits; i++) {
    const { ms: taken } = await time(() => add(artifacts, "many", [`part-${i % 100}/file-${i}`]));
    ms.push(taken);
  }
  note(`adding to a run, median of the first ${tenth} of ${commits} commits, ms`, median(ms.slice(0, tenth)));
  note(`the same of the last ${tenth}, ms`, median(ms.slice(-tenth)));
  await artifacts.close();
  artifacts = await open();
  const listMany = () => artifacts.listEntries(PROJECT, { run: "many" }, { prefix: "part-7" });
  note(`first listing of a folder of ${commits} commits at a fresh server, ms`, (await time(listMany)).ms);
  note(`listing of a folder of ${commits} commits, ms`, await medianMs(listMany));
  note("its runs' listing, ms", await medianMs(() => artifacts.listRuns(PROJECT)));
  await artifacts.close();
  note("peak memory in all, MB", peakMb());
  if (values.json) console.log(JSON.stringify(figures, null, 2));
} finally {
  await rm(folder, { recursive: true, force: true });
}
