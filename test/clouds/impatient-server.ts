/** A server in this process whose patience with its store is short, and a client whose patience with the server is. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openArtifacts } from "../../src/compose.ts";
import { type ArtifactsClient, createClient } from "../../src/index.ts";
import { createLogger } from "../../src/server/logger.ts";
import { startServer } from "../../src/server/server.ts";
import type { Retry } from "../../src/store/layers/retry.ts";
import type { StoreAddress } from "./stores.ts";

const MIB = 1024 * 1024;
/** Uploads of a few of these are many requests. */
export const DATA_OBJECT_BYTES = MIB;
/** Long enough for a healthy call on a busy machine, and short enough for a test of a store that hangs. */
const CALL_MS = 1500;
const RETRY_MS = 2000;
const CLIENT_MS = 3000;
/** Within this an upload to a store that never answers must have failed: the longest that all patience together can last, and time to spare. */
export const DEADLINE_MS = 4 * (RETRY_MS + 3 * CALL_MS) + 2 * CLIENT_MS + 10_000;

export interface ImpatientServer {
  readonly client: ArtifactsClient;
  /** What the store's calls were tried again for, in order. */
  readonly retries: readonly Retry[];
  /** Told of each failed try. */
  onRetry: () => void;
  stop(): Promise<void>;
}

export async function startImpatientServer(store: StoreAddress): Promise<ImpatientServer> {
  const folder = await mkdtemp(join(tmpdir(), "dstack-artifacts-impatient-"));
  const retries: Retry[] = [];
  const { artifacts, storeKind } = await openArtifacts(store.url, {
    env: store.env,
    settings: { dataObjectBytes: DATA_OBJECT_BYTES },
    layers: {
      timeout: { baseMs: CALL_MS, perMibMs: CALL_MS, wholeReadBytes: MIB },
      retry: {
        deadlineMs: RETRY_MS,
        firstDelayMs: 10,
        maxDelayMs: 200,
        onRetry(retry) {
          retries.push(retry);
          server.onRetry();
        },
      },
    },
  });
  const listening = await startServer({
    artifacts,
    storeKind,
    version: "0.0.0-test",
    project: "main",
    run: "current",
    listen: [`unix://${folder}/s.sock`],
    logger: createLogger("silent"),
    graceMs: 0,
  });
  const client = createClient({ url: listening.addresses[0], timeoutMs: CLIENT_MS, env: {} });
  const server: ImpatientServer = {
    client,
    retries,
    onRetry: () => {},
    async stop() {
      await client.close();
      await listening.close();
      await artifacts.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
  return server;
}
