/**
 * A client is killed at any of its readings and writings; another one, which has the same files, goes on with its upload. Nothing can be seen
 * before that, everything after, and nothing is sent again that had arrived.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import fs from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { dataPrefix, isDataObject, uploadDataPrefix } from "../../src/artifacts/keys.ts";
import { createObjects, type Objects } from "../../src/artifacts/objects.ts";
import type { Artifacts } from "../../src/artifacts/types.ts";
import { readFooter } from "../../src/artifacts/uploads/data-footer.ts";
import { createClient } from "../../src/client/client.ts";
import type { RunningServer } from "../../src/server/server.ts";
import type { Driver } from "../../src/store/driver.ts";
import { openFile } from "../../src/store/drivers/file.ts";
import { bytesFrom, FAST, newFolder, removeFolders, type Tree, writeTree } from "./support/folders.ts";
import { digestsOf, PROJECT, shown } from "./support/look.ts";
import { pointsOf } from "./support/points.ts";
import { serve } from "./support/server.ts";
import { openFolder } from "./support/store.ts";

const MAIN = join(import.meta.dirname, "support", "client-main.ts");
const POINTS = pointsOf(10, 320);
const DATA_PUT_MS = 20;
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
  let objects: Objects;
  let server: RunningServer;
  let runs = 0;

  before(async () => {
    const folder = newFolder(FAST);
    [root, local, socket] = ["store", "local", "server.sock"].map((name) => join(folder, name)) as [string, string, string];
    writeTree(local, TREE);
    artifacts = await openFolder(root, {}, slow);
    objects = createObjects(await openFile(root));
    server = await serve(artifacts, socket);
  });

  after(async () => {
    await server.close();
    await artifacts.close();
    await objects.driver.close();
    removeFolders();
  });

  /** A store that takes its time: whoever asks at once what is persisted comes while the last of it is on its way. */
  function slow(driver: Driver): Driver {
    return {
      ...driver,
      async putIfAbsent(key, ...rest) {
        if (key.startsWith(dataPrefix(PROJECT))) await wait(DATA_PUT_MS);
        return driver.putIfAbsent(key, ...rest);
      },
    };
  }

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

  /** Bytes of files in the data objects of an upload, as often as they were stored. */
  async function storedBytes(uploadId: string): Promise<number> {
    let bytes = 0;
    for await (const object of objects.list(uploadDataPrefix(PROJECT, uploadId))) {
      if (!isDataObject(object.key)) continue;
      for (const { length } of await readFooter(objects, object)) bytes += Number(length);
    }
    return bytes;
  }

  async function tell(kill: number): Promise<boolean> {
    const run = `run-${++runs}`;
    const uploadId = randomUUID();
    const { killed } = await runClient(run, uploadId, kill);
    const visible = (await artifacts.listRuns(PROJECT, { pageSize: 1000 })).runs.some(({ name }) => name === run);
    // It may have been killed while it waited for the answer.
    if (visible) assert.deepEqual(await shown(artifacts, { run }), digestsOf(TREE), "what can be seen is whole");
    const other = createClient({ url: `unix://${socket}`, env: {} });
    const result = await other.upload({ localPath: local, artifactPath: "", run, uploadId });
    await other.close();
    assert.equal(result.commit, 1);
    assert.deepEqual(await shown(artifacts, { run }), digestsOf(TREE));
    assert.equal(await storedBytes(uploadId), BYTES, "what was stored when the other client came is not sent again");
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
