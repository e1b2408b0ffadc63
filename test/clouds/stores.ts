/** The stores that the suites of this folder run on: a folder, and a real server for each cloud's protocol. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startAzurite } from "../servers/azure.ts";
import { startFakeGcs } from "../servers/gcs.ts";
import { startVersitygw } from "../servers/s3.ts";

/** Names a store to whoever opens it. */
export interface StoreAddress {
  readonly url: string;
  /** Its credentials. */
  readonly env: NodeJS.ProcessEnv;
}

export interface RunningStore {
  /** An empty store of its own for each name. */
  at(space: string): StoreAddress;
  stop(): Promise<void>;
}

export interface RunningCloud extends RunningStore {
  /** Where its server listens. */
  readonly address: string;
  /** The same store by another address, which leads to the server. */
  at(space: string, address?: string): StoreAddress;
}

const BUCKET = "artifacts";

async function startFolder(): Promise<RunningStore> {
  const folder = await mkdtemp(join(tmpdir(), "dstack-artifacts-store-"));
  return { at: (space) => ({ url: join(folder, space), env: {} }), stop: () => rm(folder, { recursive: true, force: true }) };
}

async function startS3(): Promise<RunningCloud> {
  const server = await startVersitygw();
  await server.createBucket(BUCKET);
  const { AWS_ENDPOINT_URL_S3: _, ...env } = server.env;
  return {
    address: server.url,
    at: (space, address = server.url) => ({ url: `s3://${BUCKET}/${space}?endpoint=${address}&path_style=true`, env }),
    stop: () => server.stop(),
  };
}

async function startAzure(): Promise<RunningCloud> {
  const server = await startAzurite();
  await server.createContainer(BUCKET);
  const { origin } = new URL(server.url);
  const env = { AZURE_STORAGE_ACCOUNT: server.account, AZURE_STORAGE_KEY: server.key };
  return {
    address: origin,
    at: (space, address = origin) => ({ url: `az://${BUCKET}/${space}?endpoint=${address}`, env }),
    stop: () => server.stop(),
  };
}

async function startGcs(): Promise<RunningCloud> {
  const server = await startFakeGcs();
  await server.createBucket(BUCKET);
  return {
    address: server.url,
    at: (space, address = server.url) => ({ url: `gs://${BUCKET}/${space}?endpoint=${address}`, env: {} }),
    stop: () => server.stop(),
  };
}

export const CLOUDS: Readonly<Record<string, () => Promise<RunningCloud>>> = {
  "Amazon S3": startS3,
  "Azure Blob Storage": startAzure,
  "Google Cloud Storage": startGcs,
};

export const STORES: Readonly<Record<string, () => Promise<RunningStore>>> = { "a folder": startFolder, ...CLOUDS };
