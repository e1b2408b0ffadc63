/** One RPC a file. */
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Contender, sample } from "../measure.ts";
import { startWorker } from "../processes.ts";
import { discard } from "../trees.ts";

/** Trees of fewer files say nothing about this. */
const MANY_FILES = 1_000;

/** `isSafe`: with the promises that our server and client make. */
export async function unary(folder: string, { isSafe }: { readonly isSafe: boolean }): Promise<Contender> {
  const store = await mkdtemp(join(folder, "unary-"));
  const server = await startWorker("unary-server", { folder: store, isSafe }, { flags: [] });
  const client = await startWorker("unary-client", { url: server.url, isSafe }, { flags: [] });
  return {
    name: isSafe ? "one RPC a file, as safe" : "one RPC a file",
    async measure(task) {
      if (task.files < MANY_FILES) return undefined;
      const target = await mkdtemp(join(folder, "down-"));
      const before = [await client.usage(), await server.usage()] as const;
      const done = await client.run({ ...task, target });
      const taken = sample(done.seconds, [before[0], done.usage], [before[1], await server.usage()]);
      await discard(target, task);
      return taken;
    },
    async close() {
      await client.close();
      await server.close();
      await rm(store, { recursive: true });
    },
  };
}
