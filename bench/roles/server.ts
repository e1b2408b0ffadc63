/** The whole server in front of a store, as `serve` starts it, without its log. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openArtifacts } from "../../src/compose.ts";
import { createLogger } from "../../src/server/logger.ts";
import { startServer } from "../../src/server/server.ts";
import type { Role } from "../worker.ts";

export async function start({ store }: { store: string }): Promise<Role> {
  const folder = await mkdtemp(join(tmpdir(), "bench-"));
  const { artifacts, storeKind } = await openArtifacts(store);
  const server = await startServer({
    artifacts,
    storeKind,
    version: "0.0.0-bench",
    project: "main",
    run: "bench",
    listen: [`unix://${join(folder, "s.sock")}`],
    logger: createLogger("warn"),
  });
  return {
    url: server.addresses[0] as string,
    async close() {
      await server.close();
      await artifacts.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
