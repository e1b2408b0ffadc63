/** One large file, whose upload is killed ten times on its way, five times its client and five times its server, and sent little more than once. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import fs from "node:fs";
import { join } from "node:path";
import { openArtifacts } from "../../src/compose.ts";
import { crc32c } from "../../src/lib/crc32c.ts";
import { STORES, type StoreAddress } from "../clouds/stores.ts";
import { NODE_FLAGS } from "../support/node-flags.ts";
import { type CountingLine, openLine } from "./support/counting-line.ts";
import { newFolder, removeFolders } from "./support/folders.ts";
import { PROJECT } from "./support/look.ts";
import { IS_LONG } from "./support/points.ts";

const MIB = 1024 * 1024;
const FILE_BYTES = Number(process.env["DSTACK_ARTIFACTS_FAULTS_FILE_MIB"] ?? (IS_LONG ? 4096 : 128)) * MIB;
/** The default in the long form, and as small a part of the file in the short one. */
const DATA_OBJECT_BYTES = Math.min(16 * MIB, FILE_BYTES / 256);
const DEATHS = 10;
/** Of a short file, what is on its way in the connection's windows when one dies is a larger part. */
const ALLOWED = IS_LONG ? 1.2 : 1.8;

/** The stores of the short form; the long one takes all. */
const SHORT = new Set(["a folder", "Amazon S3"]);

/** A file that doesn't repeat itself in whole data objects. Gives its CRC32C. */
function writeLargeFile(path: string): number {
  const block = randomBytes(4 * MIB);
  const fd = fs.openSync(path, "w");
  let crc = 0;
  for (let at = 0; at < FILE_BYTES; at += block.length) {
    block.writeDoubleLE(at, 0);
    const part = block.subarray(0, Math.min(block.length, FILE_BYTES - at));
    fs.writeSync(fd, part);
    crc = crc32c(part, crc);
  }
  fs.closeSync(fd);
  return crc;
}

function start(main: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
  return spawn(process.execPath, [...NODE_FLAGS, join(import.meta.dirname, "support", main), ...args], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, ...env },
  });
}

async function startServer(store: StoreAddress, socket: string): Promise<ChildProcess> {
  const child = start("store-server-main.ts", [store.url, socket, String(DATA_OBJECT_BYTES)], store.env);
  const [first] = (await Promise.race([once(child.stdout as NodeJS.ReadableStream, "data"), once(child, "close")])) as [unknown];
  assert.match(String(first), /ready/);
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  const closed = once(child, "close");
  child.kill("SIGKILL");
  await closed;
}

/** Resolves when so many bytes were sent, or the child ended before. */
function sentOrEnded(line: CountingLine, bytes: number, child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    const look = () => {
      if (line.sent < bytes && child.exitCode === null && child.signalCode === null) return;
      line.onSent = undefined;
      resolve();
    };
    line.onSent = look;
    child.once("close", look);
    look();
  });
}

describe("an upload that is killed ten times", function () {
  this.timeout(IS_LONG ? 3_600_000 : 300_000);
  let file: string;
  let crc: number;
  before(() => {
    file = join(newFolder(), "file");
    crc = writeLargeFile(file);
  });
  after(removeFolders);

  for (const [name, startStore] of Object.entries(STORES)) {
    if (!IS_LONG && !SHORT.has(name)) continue;
    it(`comes to its end in ${name}, having sent at most ${ALLOWED} times its bytes`, async () => {
      const store = await startStore();
      const folder = newFolder();
      const [front, back] = [join(folder, "front.sock"), join(folder, "back.sock")];
      const address = store.at("deaths");
      const line = await openLine(front, back);
      const uploadId = randomUUID();
      const upload = () => start("upload-main.ts", [`unix://${front}`, file, "r", uploadId]);
      let server = await startServer(address, back);
      let client = upload();
      let deaths = 0;
      try {
        // One in each tenth of what is at least to be sent, somewhere in it.
        for (; deaths < DEATHS; deaths++) {
          await sentOrEnded(line, (FILE_BYTES * (deaths + Math.random())) / DEATHS, client);
          assert.equal(client.exitCode, null, `it ended after ${deaths} deaths`);
          if (deaths % 2 === 0) {
            await kill(server);
            server = await startServer(address, back);
          } else {
            await kill(client);
            client = upload();
          }
        }
        const [code] = client.exitCode === null ? ((await once(client, "close")) as [number]) : [client.exitCode];
        assert.equal(code, 0, "the last client came to its end");
        const { artifacts } = await openArtifacts(address.url, { env: { ...process.env, ...address.env } });
        const { entries, commit } = await artifacts.listEntries(PROJECT, { run: "r" }, {});
        assert.deepEqual([commit, entries[0]?.size, entries[0]?.crc32c], [1, FILE_BYTES, crc]);
        for await (const event of artifacts.verify(PROJECT, { run: "r" })) if (event.type === "finish") assert.equal(event.damaged, 0);
        await artifacts.close();
        const times = line.sent / FILE_BYTES;
        console.log(`      ${name}: ${FILE_BYTES / MIB} MiB, ${deaths} deaths, ${times.toFixed(3)} times its bytes sent`);
        assert.ok(times <= ALLOWED, `${times} times its bytes were sent`);
      } finally {
        for (const child of [client, server]) if (child.exitCode === null && child.signalCode === null) await kill(child);
        await line.close();
        await store.stop();
      }
    });
  }
});
