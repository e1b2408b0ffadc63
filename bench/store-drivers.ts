/**
 * `node bench/store-drivers.ts [--mib N]`: what each store's driver costs this process in CPU, beside a bare HTTP client that moves the same
 * bytes. Servers are processes of their own and don't count. docs/stores.md has figures.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import http from "node:http";
import { parseArgs } from "node:util";
import { BufferPool } from "../src/lib/buffer-pool.ts";
import { crc32cOfParts } from "../src/lib/crc32c.ts";
import type { Driver } from "../src/store/driver.ts";
import { openAzure } from "../src/store/drivers/azure.ts";
import { openFile } from "../src/store/drivers/file.ts";
import { openGcs } from "../src/store/drivers/gcs.ts";
import { openS3 } from "../src/store/drivers/s3.ts";
import { STORES } from "../test/clouds/stores.ts";

const MIB = 1024 * 1024;
const OBJECT_BYTES = 16 * MIB;
/** As a download asks for them. */
const READ_BYTES = 4 * MIB;
const AT_ONCE = 4;
const buffers = new BufferPool(READ_BYTES, AT_ONCE);

const { values } = parseArgs({ options: { mib: { type: "string", default: "512" } } });
const objects = Math.max(1, Math.floor((Number(values.mib) * MIB) / OBJECT_BYTES));
/** As an upload gives it: chunks of a megabyte. */
const body = Array.from({ length: OBJECT_BYTES / MIB }, (_, i) => new Uint8Array(MIB).fill(i));
const crc32c = crc32cOfParts(body);

const OPEN: Readonly<Record<string, (url: string, env: NodeJS.ProcessEnv) => Promise<Driver>>> = {
  "a folder": openFile,
  "Amazon S3": openS3,
  "Azure Blob Storage": openAzure,
  "Google Cloud Storage": openGcs,
};

console.log(`${"".padEnd(24)}  put s/GB  MB/s   read s/GB  MB/s`);
await report("bare HTTP", await bareHttp());
for (const [name, start] of Object.entries(STORES)) {
  const store = await start();
  const { url, env } = store.at("bench");
  const driver = await (OPEN[name] as (typeof OPEN)[string])(url, env);
  await report(name, {
    put: async (i) => void (await driver.putIfAbsent(`data/${i}`, body, { crc32c })),
    async read(i, offset) {
      const buffer = buffers.take();
      await driver.read(`data/${i}`, { offset, length: READ_BYTES }, { allocate: () => buffer });
      buffers.give(buffer);
    },
    close: async () => {
      await driver.close();
      await store.stop();
    },
  });
}

interface Moves {
  put(i: number): Promise<void>;
  read(i: number, offset: number): Promise<void>;
  close(): Promise<void>;
}

async function report(name: string, { put, read, close }: Moves): Promise<void> {
  const ranges = Array.from({ length: OBJECT_BYTES / READ_BYTES }, (_, k) => k * READ_BYTES);
  const up = await cost(range(objects).map((i) => () => put(i)));
  const down = await cost(range(objects).flatMap((i) => ranges.map((offset) => () => read(i, offset))));
  await close();
  const cell = (value: number, digits: number, width: number) => value.toFixed(digits).padStart(width);
  console.log(`${name.padEnd(24)}${cell(up.cpu, 2, 10)}${cell(up.rate, 0, 6)}${cell(down.cpu, 2, 12)}${cell(down.rate, 0, 6)}`);
}

/** CPU seconds a GB and MB a second, of tasks that together move all bytes. The first tenth warms up and doesn't count. */
async function cost(tasks: readonly (() => Promise<void>)[]): Promise<{ cpu: number; rate: number }> {
  const warm = Math.floor(tasks.length / 10);
  await runAll(tasks.slice(0, warm));
  const before = process.cpuUsage();
  const begun = performance.now();
  await runAll(tasks.slice(warm));
  const { user, system } = process.cpuUsage(before);
  const gb = (objects * OBJECT_BYTES * (1 - warm / tasks.length)) / 1e9;
  return { cpu: (user + system) / 1e6 / gb, rate: (gb * 1e6) / (performance.now() - begun) };
}

async function runAll(tasks: readonly (() => Promise<void>)[]): Promise<void> {
  let next = 0;
  const work = async () => {
    while (next < tasks.length) await (tasks[next++] as () => Promise<void>)();
  };
  await Promise.all(range(AT_ONCE).map(work));
}

function range(length: number): number[] {
  return Array.from({ length }, (_, i) => i);
}

/** What the bytes alone cost: node:http without an SDK, checksums or copies. Its server is a process, too. */
async function bareHttp(): Promise<Moves> {
  const server = fork(new URL("./roles/bare-http-server.ts", import.meta.url));
  const [port] = (await once(server, "message")) as [number];
  const agent = new http.Agent({ keepAlive: true });
  const ask = (method: string, length: number, send: readonly Uint8Array[]) =>
    new Promise<void>((resolve, reject) => {
      const request = http.request({ port, method, agent, path: `/${length}`, headers: { "content-length": send.length * MIB } });
      request.on("error", reject).on("response", (response) => response.on("data", () => {}).on("end", resolve));
      for (const part of send) request.write(part);
      request.end();
    });
  return {
    put: () => ask("PUT", 0, body),
    read: () => ask("GET", READ_BYTES, []),
    async close() {
      agent.destroy();
      server.kill();
    },
  };
}
