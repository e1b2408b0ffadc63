/** Keeps objects in a container of Azure Blob Storage. docs/stores.md describes the URL. */
import { createHash } from "node:crypto";
import type { Readable } from "node:stream";
import type { ContainerClient, StoragePipelineOptions } from "@azure/storage-blob";
import { crc32c, crc32cOfParts } from "../../lib/crc32c.ts";
import type { ByteParts, Driver, ListOptions, ObjectInfo, ObjectPage, ObjectRange, PutOptions, ReadOptions } from "../driver.ts";
import { StoreError } from "../driver.ts";
import { azureError, diagnose } from "./azure/errors.ts";
import { type AzureAccess, parseAzureUrl } from "./azure/url.ts";
import { Calls } from "./calls.ts";
import { base64OfCrc32c, bodyOf, CLOUD_READ_BYTES, collect, sizeOf } from "./cloud/bytes.ts";
import { checkOrder, isAfter, justAfter, MAX_PAGE } from "./cloud/listing.ts";
import { prefixed } from "./cloud/prefixed.ts";
import { loadSdk } from "./cloud/sdk.ts";
import { checkKey } from "./keys.ts";

/** A blob's CRC32C is kept in its metadata, since Azure keeps only MD5, which costs five times as much to check. */
const CRC32C_METADATA = "crc32c";

/** Opens a container; no call is made yet. */
export async function openAzure(url: string, env: NodeJS.ProcessEnv = process.env): Promise<Driver> {
  const settings = parseAzureUrl(url, env);
  const { name, container: containerName, prefix, access, accessTier, encryptionScope } = settings;
  const container = await openContainer(name, containerName, access);
  const calls = new Calls(name);

  /** Makes a call, and turns what goes wrong into a StoreError unless the signal was aborted. */
  function call<T>(what: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    return calls.run(signal, async () => {
      try {
        return await work();
      } catch (error) {
        signal?.throwIfAborted();
        throw error instanceof StoreError ? error : azureError(settings, what, error);
      }
    });
  }

  async function putIfAbsent(key: string, parts: ByteParts, { crc32c: declared, signal }: PutOptions): Promise<boolean> {
    checkKey(name, key);
    // Azure doesn't know CRC32C: ours is checked here, and Azure checks the MD5 of the same bytes.
    if (crc32cOfParts(parts) !== declared) {
      throw new StoreError("damaged", `${name}: the body of ${key} isn't what its checksum says`);
    }
    const size = sizeOf(parts);
    const body = bodyOf(parts, size);
    try {
      await container.getBlockBlobClient(key).upload(Buffer.isBuffer(body) ? body : () => body, size, {
        conditions: { ifNoneMatch: "*" },
        blobHTTPHeaders: { blobContentType: "application/octet-stream" },
        metadata: { [CRC32C_METADATA]: base64OfCrc32c(declared) },
        transactionalContentMD5: md5(parts),
        ...(accessTier === undefined ? {} : { tier: accessTier }),
        ...(encryptionScope === undefined ? {} : { encryptionScope }),
        ...abortBy(signal),
      });
      return true;
    } catch (error) {
      if (diagnose(settings, error).kind === "exists") return false;
      throw error;
    }
  }

  async function read(key: string, range: ObjectRange | undefined, { signal, allocate }: ReadOptions): Promise<Uint8Array> {
    const answer = await container
      .getBlobClient(key)
      .download(range?.offset ?? 0, range?.length, { maxRetryRequests: 0, ...abortBy(signal) });
    const bytes = await collect(answer.readableStreamBody as Readable, answer.contentLength ?? 0, allocate);
    if (range !== undefined) {
      // Azure refuses a range that starts at the end; Azurite answers with nothing (206, `bytes 5-4/5`).
      if (bytes.length === 0) throw new StoreError("outOfRange", `${name}: ${key} ends before ${range.offset}`);
      return bytes;
    }
    const recorded = answer.metadata?.[CRC32C_METADATA];
    if (recorded === undefined) throw new StoreError("damaged", `${name}: ${key} has no checksum: something else put it there`);
    if (recorded !== base64OfCrc32c(crc32c(bytes))) throw new StoreError("damaged", `${name}: ${key} isn't what was put`);
    return bytes;
  }

  async function list(prefix: string, { startAfter, limit = MAX_PAGE, signal }: ListOptions): Promise<ObjectPage> {
    const objects: ObjectInfo[] = [];
    // One more than is wanted: a marker alone doesn't promise that anything follows.
    const wanted = limit + 1;
    const pages = container
      .listBlobsFlat({ prefix, ...(startAfter === undefined ? {} : { startFrom: justAfter(startAfter) }), ...abortBy(signal) })
      .byPage({ maxPageSize: wanted });
    for await (const page of pages) {
      for (const { name: key, properties } of page.segment.blobItems) {
        if (!isAfter(key, startAfter)) continue;
        objects.push({ key, size: properties.contentLength ?? 0, lastModified: properties.lastModified });
      }
      if (objects.length >= wanted) break;
    }
    checkOrder(name, objects);
    return { objects: objects.slice(0, limit), more: objects.length > limit };
  }

  const driver: Driver = {
    name,
    readBytes: CLOUD_READ_BYTES,
    putIfAbsent: (key, body, options) => call(`writing ${key}`, options.signal, () => putIfAbsent(key, body, options)),
    read: (key, range, options = {}) => call(`reading ${key}`, options.signal, () => read(key, range, options)),
    list: (prefix, options = {}) => call(`listing ${prefix}`, options.signal, () => list(prefix, options)),
    delete: (key, options) =>
      call(`deleting ${key}`, options?.signal, async () => {
        try {
          await container.getBlobClient(key).delete(abortBy(options?.signal));
        } catch (error) {
          if (diagnose(settings, error).kind !== "notFound") throw error;
        }
      }),
    close: () => calls.close(),
  };
  return prefixed(driver, prefix);
}

async function openContainer(name: string, container: string, access: AzureAccess): Promise<ContainerClient> {
  const sdk = await loadSdk("Azure Blob Storage", "@azure/storage-blob", () => import("@azure/storage-blob"));
  // One policy decides about retries: src/store/layers/retry.ts. Connections are kept alive, and proxies found in HTTPS_PROXY.
  const options: StoragePipelineOptions = { retryOptions: { maxTries: 1 } };
  try {
    if (access.by === "connectionString") return new sdk.ContainerClient(access.connectionString, container, options);
    const url = `${access.endpoint}/${encodeURIComponent(container)}`;
    if (access.by === "key") {
      return new sdk.ContainerClient(url, new sdk.StorageSharedKeyCredential(access.account, access.key), options);
    }
    const identity = await loadSdk("Azure Blob Storage", "@azure/identity", () => import("@azure/identity"));
    return new sdk.ContainerClient(url, new identity.DefaultAzureCredential(), options);
  } catch (cause) {
    if (cause instanceof StoreError) throw cause;
    // The SDK's own words could repeat a part of the key.
    const setting = access.by === "connectionString" ? "AZURE_STORAGE_CONNECTION_STRING" : "AZURE_STORAGE_KEY";
    throw new StoreError("misconfigured", `${name}: ${setting} isn't of the form that Azure gives`);
  }
}

function abortBy(signal: AbortSignal | undefined): { abortSignal?: AbortSignal } {
  return signal === undefined ? {} : { abortSignal: signal };
}

function md5(body: ByteParts): Uint8Array {
  const hash = createHash("md5");
  for (const part of body) hash.update(part);
  return hash.digest();
}
