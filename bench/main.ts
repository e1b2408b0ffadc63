/**
 * `npm run bench -- [CASE...] [--rounds N] [--json] [--profile FOLDER] …`: rates, CPU time and memory of what the project does, next to what else
 * could do it, measured in the same rounds.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, cpus, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Figure } from "./measure.ts";
import { report } from "./report.ts";
import type { Settings } from "./settings.ts";

const CASES: Readonly<Record<string, () => Promise<{ run: (settings: Settings) => Promise<Figure[]> }>>> = {
  null: () => import("./cases/null.ts"),
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: "5" },
    "large-mib": { type: "string", default: "1024" },
    "small-files": { type: "string", default: "10000" },
    tcp: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    profile: { type: "string" },
    folder: { type: "string", default: tmpdir() },
    store: { type: "string" },
    clients: { type: "string", default: "" },
  },
});

const folder = await mkdtemp(join(values.folder, "dstack-artifacts-bench-"));
if (values.profile !== undefined) await mkdir(values.profile, { recursive: true });
const settings: Settings = {
  rounds: Number(values.rounds),
  largeBytes: Number(values["large-mib"]) * 1024 * 1024,
  smallFiles: Number(values["small-files"]),
  tcp: values.tcp,
  profile: values.profile,
  folder,
  store: values.store,
  clients: values.clients.split(",").filter((name) => name !== ""),
  progress: (text) => {
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
  },
};
const machine = {
  cpu: cpus()[0]?.model ?? "",
  cores: availableParallelism(),
  memoryGb: Math.round(totalmem() / 1e9),
  node: process.version,
  platform: `${process.platform} ${process.arch}`,
  date: new Date().toISOString(),
};
const figures: Figure[] = [];
try {
  for (const name of positionals.length > 0 ? positionals : Object.keys(CASES)) {
    const load = CASES[name];
    if (load === undefined) throw new Error(`no case ${name}; there are ${Object.keys(CASES).join(", ")}`);
    figures.push(...(await (await load()).run(settings)));
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
if (values.json) console.log(JSON.stringify({ machine, figures }, null, 2));
else
  console.log(`${machine.cpu}, ${machine.cores} cores, ${machine.memoryGb} GB, Node ${machine.node}, ${machine.date}\n${report(figures)}`);
