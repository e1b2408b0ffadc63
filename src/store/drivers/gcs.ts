/**
 * Keeps objects in a bucket of Google Cloud Storage. docs/stores.md describes the URL.
 *
 * @google-cloud/storage gives the credentials and the service's address; the five requests are made here, by its JSON API. The
 * SDK's own calls can't be ended early, and send a body through six streams.
 */
import { randomBytes } from "node:crypto";
import type { Readable } from "node:stream";
import { crc32c } from "../../lib/crc32c.ts";
import type { ByteParts, Driver, ListOptions, ObjectInfo, ObjectPage, ObjectRange, PutOptions, ReadOptions } from "../driver.ts";
import { StoreError } from "../driver.ts";
import { Calls } from "./calls.ts";
import { base64OfCrc32c, bodyOf, CLOUD_READ_BYTES, sizeOf } from "./cloud/bytes.ts";
import { openConnections } from "./cloud/connections.ts";
import { checkOrder, isAfter, justAfter, MAX_PAGE } from "./cloud/listing.ts";
import { prefixed } from "./cloud/prefixed.ts";
import { loadSdk } from "./cloud/sdk.ts";
import { GcsAnswerError, GcsCredentialsError, gcsError } from "./gcs/errors.ts";
import { type HttpAnswer, type HttpRequest, send } from "./gcs/http.ts";
import { parseGcsUrl } from "./gcs/url.ts";
import { checkKey } from "./keys.ts";

interface ListAnswer {
  readonly items?: readonly { readonly name: string; readonly size: string; readonly timeCreated: string }[];
  readonly nextPageToken?: string;
}

/** Opens a bucket; no call is made yet. */
export async function openGcs(url: string, env: NodeJS.ProcessEnv = process.env): Promise<Driver> {
  const settings = parseGcsUrl(url, env);
  const { name, bucket, prefix, endpoint, authenticated, userProject, kmsKeyName, storageClass } = settings;
  const sdk = await loadSdk("Google Cloud Storage", "@google-cloud/storage", () => import("@google-cloud/storage"));
  const keyFilename = env.GOOGLE_APPLICATION_CREDENTIALS;
  const storage = new sdk.Storage(keyFilename ? { keyFilename } : {});
  const api = endpoint ?? storage.apiEndpoint;
  const connections = openConnections(name, env, undefined);
  const calls = new Calls(name);

  /** Makes a call, and turns what goes wrong into a StoreError unless the signal was aborted. */
  function call<T>(
    operation: "writing" | "reading" | "listing" | "deleting",
    key: string,
    signal: AbortSignal | undefined,
    work: () => Promise<T>,
  ) {
    return calls.run(signal, async () => {
      try {
        return await work();
      } catch (error) {
        signal?.throwIfAborted();
        throw error instanceof StoreError
          ? error
          : gcsError(settings, `${operation} ${key}`, error, operation === "writing" || operation === "listing");
      }
    });
  }

  /** Requires an answer of one of these statuses. */
  async function request(
    path: string,
    query: Record<string, string>,
    expected: readonly number[],
    rest: Omit<HttpRequest, "url">,
  ): Promise<HttpAnswer> {
    const target = new URL(`${api}${path}/b/${encodeURIComponent(bucket)}/o${query.object ? `/${encodeURIComponent(query.object)}` : ""}`);
    for (const [parameter, value] of Object.entries(query)) if (parameter !== "object") target.searchParams.set(parameter, value);
    if (userProject !== undefined) target.searchParams.set("userProject", userProject);
    const authorization = authenticated ? await authorize(target.href) : {};
    const answer = await send(connections, { ...rest, url: target.href, headers: { ...rest.headers, ...authorization } });
    if (!expected.includes(answer.status)) throw new GcsAnswerError(answer);
    return answer;
  }

  async function authorize(target: string): Promise<Record<string, string>> {
    try {
      return Object.fromEntries(new Headers(await storage.authClient.getRequestHeaders(target)).entries());
    } catch (cause) {
      throw new GcsCredentialsError("no credentials", { cause });
    }
  }

  async function putIfAbsent(key: string, parts: ByteParts, { crc32c: declared, signal }: PutOptions): Promise<boolean> {
    checkKey(name, key);
    const metadata = { name: key, crc32c: base64OfCrc32c(declared), ...(storageClass === undefined ? {} : { storageClass }) };
    const { body, headers } = multipart(metadata, parts);
    const query = {
      uploadType: "multipart",
      ifGenerationMatch: "0",
      fields: "generation",
      ...(kmsKeyName === undefined ? {} : { kmsKeyName }),
    };
    const answer = await request("/upload/storage/v1", query, [200, 412], { method: "POST", headers, body, signal });
    return answer.status === 200;
  }

  async function read(key: string, range: ObjectRange | undefined, { signal, allocate }: ReadOptions): Promise<Uint8Array> {
    const headers: Record<string, string> = range ? { range: `bytes=${range.offset}-${range.offset + range.length - 1}` } : {};
    const answer = await request("/storage/v1", { object: key, alt: "media" }, [200, 206], { method: "GET", headers, signal, allocate });
    if (range !== undefined) {
      if (answer.status !== 206) throw new StoreError("unsupported", `${name}: the store doesn't read ranges of objects`);
      return answer.body;
    }
    const recorded = /(?:^|[,\s])crc32c=([A-Za-z0-9+/]+=*)/.exec(String(answer.headers["x-goog-hash"] ?? ""))?.[1];
    if (recorded === undefined) throw new StoreError("unsupported", `${name}: the store tells no checksum of ${key}`);
    if (recorded !== base64OfCrc32c(crc32c(answer.body))) throw new StoreError("damaged", `${name}: ${key} isn't what was put`);
    return answer.body;
  }

  async function list(keyPrefix: string, { startAfter, limit = MAX_PAGE, signal }: ListOptions): Promise<ObjectPage> {
    const objects: ObjectInfo[] = [];
    let pageToken: string | undefined;
    do {
      const query = {
        prefix: keyPrefix,
        maxResults: String(limit - objects.length),
        fields: "items(name,size,timeCreated),nextPageToken",
        ...(startAfter === undefined ? {} : { startOffset: justAfter(startAfter) }),
        ...(pageToken === undefined ? {} : { pageToken }),
      };
      const answer = await request("/storage/v1", query, [200], { method: "GET", headers: {}, signal });
      const page = JSON.parse(Buffer.from(answer.body).toString("utf8")) as ListAnswer;
      for (const { name: key, size, timeCreated } of page.items ?? []) {
        if (isAfter(key, startAfter)) objects.push({ key, size: Number(size), lastModified: new Date(timeCreated) });
      }
      pageToken = page.nextPageToken;
      // A page may hold fewer than it was asked for, though more follow.
    } while (pageToken !== undefined && objects.length < limit);
    checkOrder(name, objects);
    return { objects, more: pageToken !== undefined };
  }

  const driver: Driver = {
    name,
    readBytes: CLOUD_READ_BYTES,
    putIfAbsent: (key, body, options) => call("writing", key, options.signal, () => putIfAbsent(key, body, options)),
    read: (key, range, options = {}) => call("reading", key, options.signal, () => read(key, range, options)),
    list: (keyPrefix, options = {}) => call("listing", keyPrefix, options.signal, () => list(keyPrefix, options)),
    delete: (key, options) =>
      call("deleting", key, options?.signal, async () => {
        const rest = { method: "DELETE", headers: {}, signal: options?.signal } as const;
        const answer = await request("/storage/v1", { object: key }, [200, 204, 404], rest);
        if (answer.status !== 404) return;
        const error = gcsError(settings, `deleting ${key}`, new GcsAnswerError(answer), false);
        if (error.kind !== "notFound") throw error;
      }),
    async close() {
      await calls.close();
      connections.close();
    },
  };
  return prefixed(driver, prefix);
}

/** An upload of one request: what the object is to be called, then its bytes (RFC 2387). */
function multipart(metadata: object, parts: ByteParts): { body: Buffer | Readable; headers: Record<string, string> } {
  const boundary = randomBytes(16).toString("hex");
  const opening = [
    `--${boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n${JSON.stringify(metadata)}\r\n`,
    `--${boundary}\r\nContent-Type: application/octet-stream\r\n\r\n`,
  ].join("");
  const all = [Buffer.from(opening), ...parts, Buffer.from(`\r\n--${boundary}--\r\n`)];
  const size = sizeOf(all);
  return {
    body: bodyOf(all, size),
    headers: { "content-type": `multipart/related; boundary=${boundary}`, "content-length": String(size) },
  };
}
