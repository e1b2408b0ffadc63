/** A client in a process of its own, which tells how it ended. The environment says where the server is. */
import { setTimeout as sleep } from "node:timers/promises";
import { artifacts } from "../../src/index.ts";

const [what, options] = process.argv.slice(2);
const given = JSON.parse(options ?? "{}");
/** Time for all of a few MiB to arrive. */
const ARRIVE_MS = 300;

const ACTS: Readonly<Record<string, () => Promise<unknown>>> = {
  upload: () => artifacts.upload(given),
  download: () => artifacts.download(given),
  /** Reads a file's first bytes, and leaves when all of it has arrived. */
  async peek() {
    for await (const part of artifacts.read(given)) {
      await sleep(ARRIVE_MS);
      return part.length > 0;
    }
    return false;
  },
};

try {
  const result = await ACTS[what ?? ""]?.();
  process.stdout.write(JSON.stringify({ result }));
} catch (error) {
  const { name, message } = error as Error;
  process.stdout.write(JSON.stringify({ error: { name, message } }));
}
// Nothing is closed: a connection without calls must not keep the process alive.
