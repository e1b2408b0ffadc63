/**
 * The server under load: a folder's store of which one call in some fails, loses its answer or takes long.
 *
 * Usage: server-main.ts ROOT SOCKET
 */
import { createArtifacts } from "../../../src/artifacts/artifacts.ts";
import { type Driver, StoreError } from "../../../src/store/driver.ts";
import { openFile } from "../../../src/store/drivers/file.ts";
import { composeLayers } from "../../../src/store/layers/index.ts";
import { serve } from "../support/server.ts";

/** One call in so many is struck. */
const ODDS = 40;
const DELAY_MS = 300;

const [root = "", socket = ""] = process.argv.slice(2);
const struck = { refused: 0, "answers lost": 0, slow: 0 };

async function maybe<T>(call: () => Promise<T>): Promise<T> {
  if (Math.random() * ODDS >= 1) return call();
  const kind = Math.floor(Math.random() * 3);
  if (kind === 0) {
    struck.refused++;
    throw new StoreError("temporary", "refused by the test");
  }
  if (kind === 1) {
    struck["answers lost"]++;
    await call();
    throw new StoreError("temporary", "its answer was lost by the test");
  }
  struck.slow++;
  await new Promise((resolve) => setTimeout(resolve, DELAY_MS * Math.random()));
  return call();
}

const file = await openFile(root);
const troubled: Driver = {
  name: file.name,
  readBytes: file.readBytes,
  putIfAbsent: (...args) => maybe(() => file.putIfAbsent(...args)),
  read: (...args) => maybe(() => file.read(...args)),
  list: (...args) => maybe(() => file.list(...args)),
  delete: (...args) => maybe(() => file.delete(...args)),
  close: () => file.close(),
};
const artifacts = await createArtifacts(composeLayers(troubled));
const server = await serve(artifacts, socket);
process.stdin.resume();
process.stdin.once("end", async () => {
  await server.close();
  await artifacts.close();
  process.stdout.write(`${JSON.stringify(struck)}\n`);
});
process.stdout.write("ready\n");
