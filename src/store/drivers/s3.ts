/** Keeps objects in a bucket of Amazon S3, or of a store that speaks its protocol. docs/stores.md describes the URL. */
import { createHash, randomBytes } from "node:crypto";
import type { Readable } from "node:stream";
import type { S3Client } from "@aws-sdk/client-s3";
import { crc32c, crc32cOfParts } from "../../lib/crc32c.ts";
import type {
  ByteParts,
  CallOptions,
  Driver,
  ListOptions,
  ObjectInfo,
  ObjectPage,
  ObjectRange,
  PutOptions,
  ReadOptions,
} from "../driver.ts";
import { StoreError } from "../driver.ts";
import { Calls } from "./calls.ts";
import { base64OfCrc32c, bodyOf, CLOUD_READ_BYTES, collect, sizeOf } from "./cloud/bytes.ts";
import { isConnectionLost } from "./cloud/errors.ts";
import { checkOrder, MAX_PAGE } from "./cloud/listing.ts";
import { prefixed } from "./cloud/prefixed.ts";
import { loadSdk } from "./cloud/sdk.ts";
import { checkKey } from "./keys.ts";
import { openClient } from "./s3/client.ts";
import { diagnose, s3Error } from "./s3/errors.ts";
import type { RequestOptions } from "./s3/ranges.ts";
import { parseS3Url } from "./s3/url.ts";

/** An object's CRC32C is kept in its metadata too, for stores that don't know S3's own checksums. */
const CRC32C_METADATA = "crc32c";
/** Which put made an object, to tell it when the answer was lost. */
const PUT_ID_METADATA = "put-id";

/** Opens a bucket; no call is made yet. Settings that the URL lacks come from `env`, then from AWS's own files. */
export async function openS3(url: string, env: NodeJS.ProcessEnv = process.env): Promise<Driver> {
  const settings = parseS3Url(url, env);
  const { name, bucket, prefix, s3Checksums, storageClass, sse, sseKmsKeyId, requestPayer } = settings;
  const sdk = await loadSdk("Amazon S3", "@aws-sdk/client-s3", () => import("@aws-sdk/client-s3"));
  const { client, close } = openClient(sdk.S3Client, settings, env);
  if (s3Checksums) askForChecksums(client);
  const calls = new Calls(name);
  const common = { Bucket: bucket, ...(requestPayer ? { RequestPayer: "requester" as const } : {}) };
  const encryption = {
    ...(storageClass === undefined ? {} : { StorageClass: storageClass }),
    ...(sse === undefined ? {} : { ServerSideEncryption: sse }),
    ...(sseKmsKeyId === undefined ? {} : { SSEKMSKeyId: sseKmsKeyId }),
  };

  /** Makes a call, and turns what goes wrong into a StoreError unless the signal was aborted. */
  function call<T>(what: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    return calls.run(signal, async () => {
      try {
        return await work();
      } catch (error) {
        signal?.throwIfAborted();
        throw error instanceof StoreError ? error : s3Error(settings, what, error);
      }
    });
  }

  async function putIfAbsent(key: string, body: ByteParts, { crc32c: declared, signal }: PutOptions): Promise<boolean> {
    checkKey(name, key);
    const size = sizeOf(body);
    if (!s3Checksums && crc32cOfParts(body) !== declared) {
      throw new StoreError("damaged", `${name}: the body of ${key} isn't what its checksum says`);
    }
    const putId = randomBytes(8).toString("hex");
    const command = new sdk.PutObjectCommand({
      ...common,
      ...encryption,
      Key: key,
      Body: bodyOf(body, size),
      ContentLength: size,
      ContentType: "application/octet-stream",
      IfNoneMatch: "*",
      Metadata: { [CRC32C_METADATA]: base64OfCrc32c(declared), [PUT_ID_METADATA]: putId },
      ...(s3Checksums ? { ChecksumCRC32C: base64OfCrc32c(declared) } : { ContentMD5: md5(body) }),
    });
    try {
      await client.send(command, sendOptions(signal));
      return true;
    } catch (error) {
      if (diagnose(settings, error).kind === "exists") return false;
      signal?.throwIfAborted();
      if (!isConnectionLost(error)) throw error;
      return await isMade(key, putId, error, signal);
    }
  }

  /**
   * Whether a put whose connection failed made its object. A store that refuses a large body at its first bytes closes the
   * connection, and the reset often overtakes the refusal; sending it again would go the same way.
   */
  async function isMade(key: string, putId: string, failure: unknown, signal: AbortSignal | undefined): Promise<boolean> {
    try {
      const { Metadata } = await client.send(new sdk.HeadObjectCommand({ ...common, Key: key }), sendOptions(signal));
      return Metadata?.[PUT_ID_METADATA] === putId;
    } catch {
      // Not there, not yet there, or not to be asked.
      throw failure;
    }
  }

  async function read(key: string, range: ObjectRange | undefined, { signal, allocate }: ReadOptions): Promise<Uint8Array> {
    const Range = range && `bytes=${range.offset}-${range.offset + range.length - 1}`;
    const command = new sdk.GetObjectCommand({ ...common, Key: key, ...(Range ? { Range } : {}) });
    const answer = await client.send(command, sendOptions(signal, allocate));
    const body = answer.Body as Readable;
    if (range !== undefined && answer.ContentRange === undefined) {
      body.destroy();
      throw new StoreError("unsupported", `${name}: the store doesn't read ranges of objects`);
    }
    const bytes = await collect(body, answer.ContentLength ?? 0, allocate);
    if (range !== undefined) return bytes;
    const recorded = [answer.ChecksumCRC32C, answer.Metadata?.[CRC32C_METADATA]].filter((value) => value !== undefined);
    const found = base64OfCrc32c(crc32c(bytes));
    if (recorded.length === 0) throw new StoreError("damaged", `${name}: ${key} has no checksum: something else put it there`);
    if (recorded.some((value) => value !== found)) throw new StoreError("damaged", `${name}: ${key} isn't what was put`);
    return bytes;
  }

  async function list(prefix: string, { startAfter, limit = MAX_PAGE, signal }: ListOptions): Promise<ObjectPage> {
    const objects: ObjectInfo[] = [];
    let ContinuationToken: string | undefined;
    for (;;) {
      const from = ContinuationToken !== undefined ? { ContinuationToken } : startAfter !== undefined ? { StartAfter: startAfter } : {};
      const page = await client.send(
        new sdk.ListObjectsV2Command({ ...common, ...from, Prefix: prefix, MaxKeys: limit - objects.length }),
        sendOptions(signal),
      );
      for (const { Key: key, Size: size, LastModified: lastModified } of page.Contents ?? []) {
        if (key === undefined || size === undefined || lastModified === undefined) {
          throw new StoreError("unsupported", `${name}: the store's listings lack keys, sizes or times`);
        }
        objects.push({ key, size, lastModified });
      }
      ContinuationToken = page.IsTruncated ? page.NextContinuationToken : undefined;
      // A store may give fewer keys than it was asked for, though there are more.
      if (ContinuationToken === undefined || objects.length >= limit) break;
    }
    checkOrder(name, objects);
    return { objects, more: ContinuationToken !== undefined };
  }

  const driver: Driver = {
    name,
    readBytes: CLOUD_READ_BYTES,
    putIfAbsent: (key, body, options) => call(`writing ${key}`, options.signal, () => putIfAbsent(key, body, options)),
    read: (key, range, options = {}) => call(`reading ${key}`, options.signal, () => read(key, range, options)),
    list: (prefix, options = {}) => call(`listing ${prefix}`, options.signal, () => list(prefix, options)),
    delete: (key, options?: CallOptions) =>
      call(`deleting ${key}`, options?.signal, async () => {
        try {
          await client.send(new sdk.DeleteObjectCommand({ ...common, Key: key }), sendOptions(options?.signal));
        } catch (error) {
          // Amazon's answers that it is deleted; others tell whom another one was faster than.
          const failure = s3Error(settings, `deleting ${key}`, error);
          if (failure.kind !== "notFound") throw failure;
        }
      }),
    async close() {
      await calls.close();
      client.destroy();
      close();
    },
  };
  return prefixed(driver, prefix);
}

/**
 * Asks for the checksum of each object that is read whole. Not by the SDK's own parameter, which makes it check the bytes in
 * JavaScript, for 17 CPU seconds per GB; ours is native.
 */
function askForChecksums(client: S3Client): void {
  client.middlewareStack.add(
    (next, context) => async (args) => {
      const { headers } = args.request as { headers: Record<string, string> };
      if (context.commandName === "GetObjectCommand" && headers.range === undefined) headers["x-amz-checksum-mode"] = "ENABLED";
      return next(args);
    },
    { step: "build", name: "askForChecksums" },
  );
}

function sendOptions(signal: AbortSignal | undefined, allocate?: ReadOptions["allocate"]): RequestOptions {
  return { ...(signal && { abortSignal: signal }), ...(allocate && { allocate }) };
}

function md5(body: ByteParts): string {
  const hash = createHash("md5");
  for (const part of body) hash.update(part);
  return hash.digest("base64");
}
