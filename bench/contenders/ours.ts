/** Our server in front of a store, with the library's client or the command line before it. */
import { mkdtemp } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createClient } from "../../src/index.ts";
import { type Contender, sample } from "../measure.ts";
import { NODE_FLAGS, runCommand, startProgram, startWorker, usageOf } from "../processes.ts";
import { discard, type TreeTask } from "../trees.ts";
import type { Usage } from "../worker.ts";

export interface OursOptions {
  readonly store: string;
  /** Where downloads go. */
  readonly folder: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly profile?: string | undefined;
}

const MAIN = fileURLToPath(new URL("../../dist/src/main.js", import.meta.url));
export const NO_USAGE: Usage = { cpuSeconds: 0, peakBytes: 0 };

export function library(options: OursOptions): Promise<Contender> {
  return client("client", options);
}

/** The library's client in one of its roles. */
export async function client(role: "client" | "stream-client", { store, folder, env = {}, profile }: OursOptions): Promise<Contender> {
  const server = await startWorker("server", { store }, { profile, env });
  const worker = await startWorker(role, { url: server.url }, { profile });
  return transfers("dstack-artifacts", folder, server.url, {
    async transfer(task, run, target) {
      const before = await worker.usage();
      const done = await worker.run({ ...task, run, target });
      return { seconds: done.seconds, client: [before, done.usage] };
    },
    serverUsage: () => server.usage(),
    async close() {
      await worker.close();
      await server.close();
    },
  });
}

export async function commandLine({ store, folder, env = {} }: OursOptions): Promise<Contender> {
  const url = `unix://${join(folder, "command-line.sock")}`;
  const server = await startProgram(process.execPath, [...NODE_FLAGS, MAIN, "serve", "--store", store, "--listen", url, "--quiet"], {
    env,
  });
  const run = (...args: string[]) => runCommand(process.execPath, [...NODE_FLAGS, MAIN, ...args, "--url", url, "--quiet"]);
  return transfers("dstack-artifacts, command line", folder, url, {
    async transfer({ direction, source }, name, target) {
      const done = direction === "up" ? await run("upload", source, ".", "--run", name) : await run("download", name, ".", target);
      return { seconds: done.seconds, client: [NO_USAGE, done.usage] };
    },
    serverUsage: () => usageOf(server.pid),
    close: () => server.stop(),
  });
}

/** One way to transfer files to and from a server of ours. */
export interface Way {
  transfer(task: TreeTask, run: string, target: string): Promise<{ seconds: number; client: readonly [Usage, Usage] }>;
  serverUsage(): Promise<Usage>;
  close(): Promise<void>;
}

/** Each upload goes to a run of its own; the one before of the same tree is deleted first, with its bytes, outside of what is measured. */
export function transfers(name: string, folder: string, url: string, way: Way): Contender {
  const housekeeper = createClient({ url });
  const runs = new Map<string, string>();
  let uploads = 0;
  return {
    name,
    async measure(task) {
      const tree = task as TreeTask;
      const target = await mkdtemp(join(folder, "down-"));
      if (task.direction === "up") {
        const before = runs.get(tree.source);
        if (before !== undefined) {
          await housekeeper.deleteRun(before);
          await housekeeper.collectGarbage({ graceMs: 0 });
        }
        runs.set(tree.source, `bench-${++uploads}`);
      }
      const before = await way.serverUsage();
      const { seconds, client } = await way.transfer(tree, runs.get(tree.source) ?? "", target);
      const taken = sample(seconds, client, [before, await way.serverUsage()]);
      await discard(target, tree);
      return taken;
    },
    async close() {
      await housekeeper.close();
      await way.close();
    },
  };
}
