/** bazel-remote, a cache of files that are named by their digests, over gRPC: `go install github.com/buchgr/bazel-remote/v2@v2.6.1`. */
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Contender, type Sample, sample } from "../measure.ts";
import { startProgram, startWorker, usageOf, type Worker } from "../processes.ts";

const PROGRAM = fileURLToPath(new URL("../../.tools/bin/bazel-remote", import.meta.url));
const POLL_MS = 20;

/** Whether it was put where the other tools are. */
export const bazelRemoteIsThere = (): boolean => existsSync(PROGRAM);

interface Running {
  readonly folder: string;
  readonly pid: number;
  readonly client: Worker;
  stop(): Promise<void>;
}

export function bazelRemote(folder: string): Contender {
  let running: Running | undefined;
  return {
    name: "bazel-remote, grpc-js",
    async measure(task): Promise<Sample | undefined> {
      if (task.files > 1) return undefined;
      // It takes nothing that it has, so that each upload needs an empty one.
      if (task.direction === "up") {
        await running?.stop();
        running = await start(folder);
        await running.client.run({ ...task, direction: undefined });
      }
      if (running === undefined) throw new Error("bazel-remote: nothing was uploaded");
      const { client, pid } = running;
      const target = await mkdtemp(join(folder, "down-"));
      const before = [await client.usage(), await usageOf(pid)] as const;
      const done = await client.run({ ...task, target });
      const taken = sample(done.seconds, [before[0], done.usage], [before[1], await usageOf(pid)]);
      await rm(target, { recursive: true });
      return taken;
    },
    close: async () => running?.stop(),
  };
}

async function start(parent: string): Promise<Running> {
  const folder = await mkdtemp(join(parent, "bazel-remote-"));
  const socket = join(folder, "grpc.sock");
  const flags = ["--max_size", "20", "--storage_mode", "uncompressed", "--access_log_level", "none"];
  const addresses = ["--grpc_address", `unix://${socket}`, "--http_address", `unix://${join(folder, "http.sock")}`];
  const server = await startProgram("bash", ["-c", 'exec "$0" "$@" 2>&1', PROGRAM, "--dir", join(folder, "cache"), ...flags, ...addresses]);
  while (!existsSync(socket)) await wait(POLL_MS);
  const client = await startWorker("bytestream-client", { url: `unix://${socket}` }, { flags: [] });
  return {
    folder,
    pid: server.pid,
    client,
    async stop() {
      await client.close();
      await server.stop();
      await rm(folder, { recursive: true });
    },
  };
}
