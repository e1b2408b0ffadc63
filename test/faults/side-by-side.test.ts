/**
 * Several clients download the same into one folder, and some are killed: the others end well, and what has its name is whole, whoever
 * wrote the beginning of it.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type { Artifacts } from "../../src/artifacts/types.ts";
import type { RunningServer } from "../../src/server/server.ts";
import { bytesFrom, FAST, newFolder, removeFolders, type Tree } from "./support/folders.ts";
import { pointsOf } from "./support/points.ts";
import { serve } from "./support/server.ts";
import { openFolder } from "./support/store.ts";
import { upload } from "./support/upload.ts";

const MAIN = join(import.meta.dirname, "support", "download-main.ts");
const RUN = "r";
const ROUNDS = pointsOf(5, 100);
const CLIENTS = 4;
/** Between two clients' beginnings, and between a client's first written bytes and its end. */
const STAGGER_MS = 150;
const TREE: Tree = {
  ...Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`small/${i}`, bytesFrom(`small${i}`, 50 * i)])),
  ...Object.fromEntries([3, 7, 20].map((mb) => [`large/${mb}`, bytesFrom(`large${mb}`, mb * 1_000_000)])),
};

describe("clients that download into one folder", () => {
  let folder: string;
  let socket: string;
  let artifacts: Artifacts;
  let server: RunningServer;

  before(async () => {
    folder = newFolder(FAST);
    socket = join(folder, "server.sock");
    artifacts = await openFolder(join(folder, "store"));
    await upload(artifacts, RUN, undefined, TREE);
    server = await serve(artifacts, socket);
  });

  after(async () => {
    await server.close();
    await artifacts.close();
    removeFolders();
  });

  const start = (out: string): ChildProcess =>
    spawn(process.execPath, [MAIN, `unix://${socket}`, RUN, out], { stdio: ["ignore", "ignore", "inherit"] });

  /** Whether it was at work when it was killed. */
  async function killOnceItWrites(out: string): Promise<boolean> {
    const child = start(out);
    const closed = once(child, "close");
    while (child.exitCode === null && !hasPartial(out)) await wait(1);
    await wait(Math.random() * 20);
    child.kill("SIGKILL");
    const [, signal] = await closed;
    return signal === "SIGKILL";
  }

  it("end well, with whole files, after one that was killed, and beside one that is", async () => {
    let killed = 0;
    for (let round = 0; round < ROUNDS.count; round++) {
      const out = join(folder, `out-${round}`);
      if (await killOnceItWrites(out)) killed++;
      const children: ChildProcess[] = [];
      for (let i = 0; i < CLIENTS; i++) {
        children.push(start(out));
        await wait(Math.random() * STAGGER_MS);
      }
      const [first, ...others] = children as [ChildProcess, ...ChildProcess[]];
      const exits = others.map((child) => once(child, "close"));
      first.kill("SIGKILL");
      for (const exit of exits) assert.deepEqual(await exit, [0, null]);
      for (const [path, bytes] of Object.entries(TREE))
        assert.ok(bytes.equals(fs.readFileSync(join(out, path))), `${path} in round ${round}`);
      fs.rmSync(out, { recursive: true });
    }
    ROUNDS.report("downloads killed", killed);
  });
});

function hasPartial(folder: string): boolean {
  return fs.existsSync(folder) && fs.readdirSync(folder, { recursive: true }).some((name) => String(name).endsWith(".partial"));
}
