/** The one place that knows every store: puts a driver, the layers around it and the artifacts over it together. */
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type ArtifactsOptions, createArtifacts } from "./artifacts/artifacts.ts";
import type { Artifacts } from "./artifacts/types.ts";
import { type Driver, StoreError } from "./store/driver.ts";
import { composeLayers, type LayerOptions } from "./store/layers/index.ts";
import type { StoreCall } from "./store/layers/instrument.ts";

export type StoreKind = "file" | "memory" | "s3" | "azure" | "gcs";

export interface OpenOptions extends ArtifactsOptions {
  /** Where stores find their settings and credentials; the process's by default. */
  readonly env?: NodeJS.ProcessEnv;
  /** How long the store may take, how often it is asked again, and by how many calls at once. */
  readonly layers?: Omit<LayerOptions, "instrument">;
  /** Told of each call to the store that ends. */
  readonly onStoreCall?: (call: StoreCall) => void;
}

/** Opens the artifacts in the store that a URL names; docs/stores.md describes the URLs. */
export async function openArtifacts(storeUrl: string, options: OpenOptions = {}): Promise<{ artifacts: Artifacts; storeKind: StoreKind }> {
  const { kind, driver } = await openDriver(storeUrl, options.env ?? process.env);
  const { onStoreCall, layers } = options;
  const store = composeLayers(driver, { ...layers, ...(onStoreCall ? { instrument: { observe: onStoreCall, kindOfKey } } : {}) });
  try {
    return { artifacts: await createArtifacts(store, options), storeKind: kind };
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** The store where nobody names one. */
export function defaultStoreUrl(env: NodeJS.ProcessEnv): string {
  return env["DSTACK_ARTIFACTS_STORE"] || join(homedir(), ".dstack", "artifacts", "store");
}

// A cloud's driver is loaded when its store is opened, so that nobody needs the SDKs of the others.
async function openDriver(storeUrl: string, env: NodeJS.ProcessEnv): Promise<{ kind: StoreKind; driver: Driver }> {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(storeUrl)?.[1]?.toLowerCase();
  switch (scheme) {
    case undefined:
      return openFolder(storeUrl.startsWith("~/") ? join(homedir(), storeUrl.slice(2)) : storeUrl);
    case "file":
      return openFolder(folderOf(storeUrl));
    case "memory":
      return { kind: "memory", driver: (await import("./store/drivers/memory.ts")).openMemory() };
    case "s3":
      return { kind: "s3", driver: await (await import("./store/drivers/s3.ts")).openS3(storeUrl, env) };
    case "az":
      return { kind: "azure", driver: await (await import("./store/drivers/azure.ts")).openAzure(storeUrl, env) };
    case "gs":
      return { kind: "gcs", driver: await (await import("./store/drivers/gcs.ts")).openGcs(storeUrl, env) };
    default:
      throw new StoreError(
        "misconfigured",
        `store ${storeUrl}: ${scheme}: is not a kind of store; use a path, file:, memory:, s3:, az: or gs:`,
      );
  }
}

async function openFolder(path: string): Promise<{ kind: StoreKind; driver: Driver }> {
  if (path === "") throw new StoreError("misconfigured", "the store is an empty path: name a folder or a URL");
  return { kind: "file", driver: await (await import("./store/drivers/file.ts")).openFile(path) };
}

function folderOf(url: string): string {
  try {
    return fileURLToPath(url);
  } catch (cause) {
    throw new StoreError("misconfigured", `store ${url} is not a file URL: write file:///path`, { cause });
  }
}

/** The second part of a key, for metrics: runs, log, tags, data … */
function kindOfKey(key: string): string {
  return key.startsWith(".format/") ? "format" : (key.split("/", 2)[1] ?? "");
}
