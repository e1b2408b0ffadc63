import { Storage } from "@google-cloud/storage";
import { type RunningServer, startServer } from "./process.ts";

/** A server that speaks Google Cloud Storage's JSON protocol. */
export interface GcsServer extends RunningServer {
  /** What a process needs in its environment to use it. */
  readonly env: NodeJS.ProcessEnv;
  createBucket(name: string): Promise<void>;
}

export async function startFakeGcs(): Promise<GcsServer> {
  const server = await startServer({
    name: "fake-gcs-server",
    args: (port) =>
      `-scheme http -host 127.0.0.1 -port ${port} -public-host 127.0.0.1:${port} -external-url http://127.0.0.1:${port} -backend memory -log-level error`.split(
        " ",
      ),
    healthPath: "/_internal/healthcheck",
  });
  return {
    ...server,
    env: { STORAGE_EMULATOR_HOST: server.url },
    async createBucket(name) {
      await new Storage({ apiEndpoint: server.url, projectId: "test" }).createBucket(name);
    },
  };
}
