/**
 * A client is killed at any of its readings and writings; another one, which has the same files, goes on with its upload. Nothing can be seen
 * before that, everything after, and no more is sent again than was not whole.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import fs from "node:fs";
import { join } from "node:path";
import type { Artifacts } from "../../src/artifacts/types.ts";
import { createClient } from "../../src/client/client.ts";
import type { RunningServer } from "../../src/server/server.ts";
import { bytesFrom, FAST, newFolder, removeFolders, type Tree, writeTree } from "./support/folders.ts";
import { digestsOf, PROJECT, shown } from "./support/look.ts";
import { pointsOf } from "./support/points.ts";
import { serve } from "./support/server.ts";
import { openFolder, SMALL_SETTINGS } from "./support/store.ts";

const MAIN = join(import.meta.dirname, "support", "client-main.ts");
const POINTS = pointsOf(10, 320);
/** Data objects that one server may have under way or open for an upload when its client dies. */
const OBJECTS_UNDER_WAY = 5;

/** Files that are sent whole, files in several chunks, and one that fills many data objects. */
const TREE: Tree = {
  ...Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`small/${i}`, bytesFrom(`small${i}`, 100 + i)])),
  ...Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`middle/${i}`, bytesFrom(`middle${i}`, 66_000 + i)])),
  large: bytesFrom("large", 3_000_000),
};
const BYTES = Object.values(TREE).reduce((sum, bytes) => sum + bytes.length, 0);

describe("a client that is killed", () => {
  let root: string;
  let local: string;
  let socket: string;
  let artifacts: Artifacts;
  let server: RunningServer;
  let runs = 0;

  before(async () => {
    const folder = newFolder(FAST);
    [root, local, socket] = ["store", "local", "server.sock"].map((name) => join(folder, name)) as [string, string, string];
    writeTree(local, TREE);
    artifacts = await openFolder(root);
    server = await serve({ ...artifacts, startUpload }, socket);
  });

  /** Resolve when the server has let go of an upload, with all of it stored that had arrived. */
  let letGo: Promise<void>[] = [];
  async function startUpload(...args: Parameters<Artifacts["startUpload"]>): ReturnType<Artifacts["startUpload"]> {
    const session = await artifacts.startUpload(...args);
    let close = async () => {};
    letGo.push(
      new Promise<void>((resolve) => {
        close = () => session.close().finally(resolve);
      }),
    );
    return { ...session, close };
  }
  after(async () => {
    await server.close();
    await artifacts.close();
    removeFolders();
  });

  async function runClient(run: string, uploadId: string, kill?: number): Promise<{ killed: boolean; output: string }> {
    const child = spawn(process.execPath, [MAIN, `unix://${socket}`, local, run, uploadId, ...(kill === undefined ? [] : [String(kill)])], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
    const [, signal] = (await once(child, "close")) as [number | null, string | null];
    return { killed: signal === "SIGKILL", output };
  }

  /** Bytes of data objects that were stored for an upload. */
  function storedBytes(uploadId: string): number {
    const folder = join(root, PROJECT, "data", uploadId);
    if (!fs.existsSync(folder)) return 0;
    return fs
      .readdirSync(folder, { recursive: true, encoding: "utf8" })
      .map((name) => fs.statSync(join(folder, name)))
      .filter((stats) => stats.isFile())
      .reduce((sum, stats) => sum + stats.size, 0);
  }

  async function tell(kill: number): Promise<boolean> {
    const run = `run-${++runs}`;
    const uploadId = randomUUID();
    const { killed } = await runClient(run, uploadId, kill);
    const visible = (await artifacts.listRuns(PROJECT, { pageSize: 1000 })).runs.some(({ name }) => name === run);
    // It may have been killed while it waited for the answer.
    if (visible) assert.deepEqual(await shown(artifacts, { run }), digestsOf(TREE), "what can be seen is whole");
    await Promise.all(letGo);
    letGo = [];
    const other = createClient({ url: `unix://${socket}`, env: {} });
    const result = await other.upload({ localPath: local, artifactPath: "", run, uploadId });
    await other.close();
    assert.equal(result.commit, 1);
    assert.deepEqual(await shown(artifacts, { run }), digestsOf(TREE));
    const again = storedBytes(uploadId) - BYTES;
    // Footers add some bytes for each file.
    const allowed = OBJECTS_UNDER_WAY * SMALL_SETTINGS.dataObjectBytes + 0.02 * BYTES;
    assert.ok(again < allowed, `${again} of ${BYTES} bytes were stored again`);
    await artifacts.deleteRun(PROJECT, run);
    fs.rmSync(join(root, PROJECT, "data", uploadId), { recursive: true });
    return killed;
  }

  it("at any reading or writing leaves nothing to be seen, and an upload that another client goes on with", async () => {
    const { output } = await runClient("whole", randomUUID());
    const calls = Number(/(\d+) calls/.exec(output)?.[1]);
    assert.ok(calls > 150, output);
    let fired = 0;
    for (const at of POINTS.of(calls)) {
      try {
        if (await tell(at)) fired++;
      } catch (error) {
        throw new Error(`killed at call ${at} of ${calls}`, { cause: error });
      }
    }
    POINTS.report("clients killed", fired);
  });
});
