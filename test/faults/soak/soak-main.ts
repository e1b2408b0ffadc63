/**
 * Mixed load from all three clients for minutes, over connections that are cut and on a store that fails now and then; garbage is collected
 * meanwhile. Fails if the server's memory grows, handles leak, or anything is lost or wrong.
 *
 * Usage: node test/faults/soak/soak-main.ts [MINUTES]. Needs Go, and what scripts/test-python.sh --install installs.
 */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as wait } from "node:timers/promises";
import { createClient } from "../../../src/client/client.ts";
import { NODE_FLAGS } from "../../support/node-flags.ts";
import { newFolder, removeFolders } from "../support/folders.ts";
import { openFolder } from "../support/store.ts";

const MINUTES = Number(process.argv[2] ?? 20);
const PROJECT_ROOT = resolve(import.meta.dirname, "..", "..", "..");
/** Connections live so long at the most. */
const CUT_MS = 4_000;
const SAMPLE_MS = 5_000;
const COLLECT_MS = 30_000;
const GRACE_MS = 60_000;
const MAX_GROWTH_BYTES = 128 * 1024 * 1024;
const LOADS_PER_CLIENT = 2;

const folder = newFolder();
const [root, front, back, go] = ["store", "front.sock", "back.sock", "load-go"].map((name) => join(folder, name)) as [
  string,
  string,
  string,
  string,
];
execFileSync("go", ["build", "-o", go, "./test/faults/soak/load.go"], { cwd: PROJECT_ROOT, stdio: "inherit" });
const CLIENTS: Readonly<Record<string, readonly string[]>> = {
  ts: [process.execPath, join(import.meta.dirname, "load-client.ts")],
  python: [join(PROJECT_ROOT, ".tools/python-client/bin/python"), join(import.meta.dirname, "load.py")],
  go: [go],
};

/** A line that cuts each connection within some seconds. */
let cuts = 0;
const sockets = new Set<Socket>();
const line = createServer((client) => {
  const upstream = connect(back);
  const timer = setTimeout(() => {
    cuts++;
    client.destroy();
  }, Math.random() * CUT_MS);
  for (const [socket, other] of [
    [client, upstream],
    [upstream, client],
  ] as const) {
    sockets.add(socket);
    socket.on("error", () => other.destroy());
    socket.on("close", () => {
      clearTimeout(timer);
      sockets.delete(socket);
      other.destroy();
    });
    socket.pipe(other);
  }
});
line.listen(front);

const server = spawn(process.execPath, [...NODE_FLAGS, join(import.meta.dirname, "server-main.ts"), root, back], {
  stdio: ["pipe", "pipe", "inherit"],
});
await once(server.stdout, "data");

const sampleOf = () => ({
  bytes: Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${server.pid}/status`, "utf8"))?.[1]) * 1024,
  handles: fs.readdirSync(`/proc/${server.pid}/fd`).length,
});
const atFirst = sampleOf();
const samples: { bytes: number; handles: number }[] = [];
const runs = new Map<string, number>();
const counts = { acknowledged: 0, deleted: 0, failed: 0 };
const wrong: string[] = [];
const failures = new Map<string, number>();

function startLoad(client: string, number: number): ChildProcess {
  const [program = "", ...args] = CLIENTS[client] as readonly string[];
  const child = spawn(program, [...args, `unix://${front}`, `${client}${number}`], { stdio: ["pipe", "pipe", "inherit"] });
  createInterface({ input: child.stdout as NodeJS.ReadableStream }).on("line", (text) => {
    const told = JSON.parse(text) as { acknowledged?: string; deleting?: string; wrong?: string; failed?: string; files?: number };
    if (told.acknowledged !== undefined) {
      counts.acknowledged++;
      runs.set(told.acknowledged, told.files ?? 0);
    } else if (told.deleting !== undefined) {
      // Whether it is there from here on, only its client knows, and not even that if the answer is lost.
      counts.deleted++;
      runs.delete(told.deleting);
    } else if (told.wrong !== undefined) wrong.push(told.wrong);
    else {
      counts.failed++;
      const message = `${client}: ${told.failed}`.replace(/[0-9a-f-]{8,}|\d+/g, "N");
      failures.set(message, (failures.get(message) ?? 0) + 1);
    }
  });
  return child;
}
const loads = Object.keys(CLIENTS).flatMap((client) => Array.from({ length: LOADS_PER_CLIENT }, (_, i) => startLoad(client, i)));
const dead = loads.map((load) => once(load, "close"));

const until = Date.now() + MINUTES * 60_000;
let collectAt = Date.now() + COLLECT_MS;
while (Date.now() < until) {
  await wait(SAMPLE_MS);
  samples.push(sampleOf());
  if (Date.now() < collectAt) continue;
  collectAt = Date.now() + COLLECT_MS;
  const client = createClient({ url: `unix://${back}`, env: {} });
  await client.collectGarbage({ graceMs: GRACE_MS });
  await client.close();
}
for (const load of loads) load.stdin?.end();
const codes = (await Promise.all(dead)).map(([code]) => code as number | null);
for (const socket of sockets) socket.destroy();
line.close();
await wait(SAMPLE_MS);
const atLast = sampleOf();
server.stdin.end();
const [struck] = (await once(server.stdout, "data")) as [Buffer];
await once(server, "close");

const artifacts = await openFolder(root);
for (const [run, files] of runs) {
  for await (const event of artifacts.verify("main", { run })) {
    if (event.type === "finish" && (event.damaged > 0 || event.files !== files))
      wrong.push(`${run}: ${event.damaged} damaged of ${event.files} files, not ${files}`);
  }
}
await artifacts.close();
removeFolders();

const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
const quarter = Math.floor(samples.length / 4);
const early = median(samples.slice(quarter, 2 * quarter).map(({ bytes }) => bytes));
const late = median(samples.slice(3 * quarter).map(({ bytes }) => bytes));
const report = {
  minutes: MINUTES,
  ...counts,
  kept: runs.size,
  wrong: wrong.length,
  connectionsCut: cuts,
  storeCallsStruck: JSON.parse(String(struck)) as unknown,
  memoryMiB: { first: atFirst.bytes, secondQuarter: early, lastQuarter: late, most: Math.max(...samples.map(({ bytes }) => bytes)) },
  handles: { first: atFirst.handles, last: atLast.handles },
};
console.log(
  JSON.stringify(report, (key, value) => (key !== "" && typeof value === "number" && value > 1e6 ? Math.round(value / 2 ** 20) : value), 2),
);
for (const [message, count] of failures) console.log(`${count} × ${message}`);
assert.deepEqual(wrong, []);
assert.ok(
  codes.every((code) => code === 0),
  `the loads ended with ${codes}`,
);
assert.ok(counts.acknowledged > 0);
assert.ok(late - early <= MAX_GROWTH_BYTES, "the server's memory grows");
assert.ok(atLast.handles <= atFirst.handles + 2, "handles leak");
