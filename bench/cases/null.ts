/** The wire alone: our two ends without files or store, next to bare node:http2 and a bare socket in the same rounds. */
import { type Contender, type Figure, measure, type NamedTask, sample } from "../measure.ts";
import { startWorker, type WorkerOptions } from "../processes.ts";
import type { Settings } from "../settings.ts";

const MIB = 1024 * 1024;

/** A server and a client of two roles, as one contender. `canMany`: whether it can do many files in one task. */
export async function pair(
  name: string,
  serverRole: string,
  clientRole: string,
  options: Record<string, unknown>,
  canMany: boolean,
  worker: WorkerOptions,
): Promise<Contender> {
  const server = await startWorker(serverRole, options, worker);
  const client = await startWorker(clientRole, { ...options, url: server.url }, worker);
  return {
    name,
    async measure(task) {
      if (task.files > 1 && !canMany) return undefined;
      const before = [await client.usage(), await server.usage()] as const;
      const done = await client.run(task);
      return sample(done.seconds, [before[0], done.usage], [before[1], await server.usage()]);
    },
    async close() {
      await client.close();
      await server.close();
    },
  };
}

export async function run({ rounds, largeBytes, smallFiles, tcp, profile, progress }: Settings): Promise<Figure[]> {
  const options = { tcp };
  const others = { flags: [] };
  const contenders = [
    await pair("node:http2", "raw-http2-server", "raw-http2-client", options, false, others),
    await pair("dstack-artifacts", "null-server", "null-client", options, true, { profile }),
    await pair("socket", "raw-tcp-server", "raw-tcp-client", options, false, others),
  ];
  const large = { files: 1, bytes: largeBytes, chunkBytes: MIB };
  const small = { files: smallFiles, bytes: 4096, chunkBytes: 4096 };
  const tasks: NamedTask[] = [
    { name: `up, 1 file`, direction: "up", ...large },
    { name: `down, 1 file`, direction: "down", ...large },
    { name: `up, ${smallFiles} files`, direction: "up", ...small },
    { name: `down, ${smallFiles} files`, direction: "down", ...small },
  ];
  try {
    return await measure("null", contenders, tasks, rounds, 1, progress);
  } finally {
    for (const contender of contenders) await contender.close();
  }
}
