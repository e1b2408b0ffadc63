/** A server on a store in memory, and every way to speak to it. */

import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { fromBinary } from "@bufbuild/protobuf";
import { type Client, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { ArtifactsService, type UploadRequest } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { EntryType } from "../../gen/ts/dstack/artifacts/v1/entries_pb.ts";
import { StatusSchema } from "../../gen/ts/google/rpc/status_pb.ts";
import type { Artifacts } from "../../src/artifacts/types.ts";
import { openArtifacts } from "../../src/compose.ts";
import { crc32c } from "../../src/lib/crc32c.ts";
import { createLogger } from "../../src/server/logger.ts";
import type { ServerOptions } from "../../src/server/options.ts";
import { type RunningServer, startServer } from "../../src/server/server.ts";
import { parseTokens } from "../../src/server/tokens.ts";
import { type Failure, failureOf } from "../../src/wire/status.ts";

export const TOKEN = "a-token-for-tests";
export const RUN = "current-run-1";
export type ArtifactsClient = Client<typeof ArtifactsService>;
export type LogLine = Record<string, unknown>;

export interface TestServer extends RunningServer {
  readonly artifacts: Artifacts;
  /** Of the first address. */
  readonly url: string;
  readonly log: readonly LogLine[];
  readonly [Symbol.asyncDispose]: () => Promise<void>;
}

/** Listens at a port of 127.0.0.1 and knows one token that allows everything, on a store in memory, unless it is told otherwise. */
export async function startTestServer(options: Partial<ServerOptions> = {}): Promise<TestServer> {
  const artifacts = options.artifacts ?? (await openArtifacts("memory:")).artifacts;
  const log: LogLine[] = [];
  const sink = new Writable({
    write(line, _, done) {
      log.push(JSON.parse(String(line)));
      done();
    },
  });
  const server = await startServer({
    artifacts,
    storeKind: "memory",
    version: "0.0.0-test",
    project: "main",
    run: RUN,
    listen: ["http://127.0.0.1:0"],
    tokens: parseTokens(TOKEN, "test"),
    logger: createLogger("debug", sink),
    graceMs: 2_000,
    ...options,
  });
  return {
    ...server,
    artifacts,
    url: server.addresses[0] as string,
    log,
    async [Symbol.asyncDispose]() {
      await server.close();
      await artifacts.close();
    },
  };
}

/** A folder that is there while `use` runs. */
export async function withFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "dstack-artifacts-"));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export const TRANSPORTS: Readonly<Record<string, (baseUrl: string, headers?: Record<string, string>) => Transport>> = {
  gRPC: (baseUrl, headers) => createGrpcTransport({ baseUrl, ...send(headers) }),
  "gRPC with JSON": (baseUrl, headers) => createGrpcTransport({ baseUrl, useBinaryFormat: false, ...send(headers) }),
  "gRPC-Web over HTTP/1.1": (baseUrl, headers) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1", ...send(headers) }),
  "gRPC-Web over HTTP/2": (baseUrl, headers) => createGrpcWebTransport({ baseUrl, httpVersion: "2", ...send(headers) }),
  "Connect over HTTP/1.1": (baseUrl, headers) => createConnectTransport({ baseUrl, httpVersion: "1.1", ...send(headers) }),
  "Connect over HTTP/2": (baseUrl, headers) =>
    createConnectTransport({ baseUrl, httpVersion: "2", useBinaryFormat: false, ...send(headers) }),
};

function send(headers: Record<string, string> = { authorization: `Bearer ${TOKEN}` }) {
  const { interceptors } = {
    interceptors: [
      (next: (request: never) => Promise<unknown>) => (request: { header: Headers }) => {
        for (const [name, value] of Object.entries(headers)) request.header.set(name, value);
        return next(request as never);
      },
    ],
  };
  return { interceptors: interceptors as never, acceptCompression: [], nodeOptions: {} };
}

export function clientOf(url: string, headers?: Record<string, string>, transport = "gRPC"): ArtifactsClient {
  return createClient(ArtifactsService, (TRANSPORTS[transport] as (typeof TRANSPORTS)[string])(url, headers));
}

/** The messages of a stream that uploads files, without the service's own client. */
export async function* uploadMessages(
  target: { run?: string; tag?: string; uploadId?: string; project?: string },
  files: Readonly<Record<string, Uint8Array | string>>,
): AsyncGenerator<{ message: UploadRequest["message"] }> {
  const { run, tag, uploadId = randomUUID(), project = "" } = target;
  const aim = tag !== undefined ? { case: "tag", value: tag } : run !== undefined ? { case: "run", value: run } : { case: undefined };
  yield say("start", { uploadId, project, target: aim });
  let total = 0;
  for (const [path, content] of Object.entries(files)) {
    const bytes = Buffer.from(content);
    yield say("file", { path, type: EntryType.FILE, size: BigInt(bytes.length), mode: 0o640 });
    for (let at = 0; at < bytes.length; at += 1024 * 1024) yield say("chunk", bytes.subarray(at, at + 1024 * 1024));
    yield say("fileEnd", { size: BigInt(bytes.length), crc32c: crc32c(bytes) });
    total += bytes.length;
  }
  yield say("finish", { files: BigInt(Object.keys(files).length), bytes: BigInt(total) });
}

/** One message; what it holds is checked by the codec alone, so that wrong ones can be made. */
export function say(name: NonNullable<UploadRequest["message"]["case"]>, value: unknown): { message: UploadRequest["message"] } {
  return { message: { case: name, value } as UploadRequest["message"] };
}

/** Everything that a download brought: paths with their contents as text. */
export async function collect(
  stream: AsyncIterable<{ message: { case?: string | undefined; value?: unknown } }>,
): Promise<Record<string, string>> {
  // A Map, since `__proto__` is a path like any other.
  const files = new Map<string, string>();
  let path = "";
  let finished = false;
  for await (const { message } of stream) {
    if (message.case === "file") files.set((path = (message.value as { path: string }).path), "");
    if (message.case === "chunk") files.set(path, (files.get(path) ?? "") + Buffer.from(message.value as Uint8Array).toString());
    finished = message.case === "finish";
  }
  if (!finished) throw new Error("the download ended without finish");
  return Object.fromEntries(files);
}

/** The reason of an error that `act` must end with. */
export async function reasonOf(act: () => Promise<unknown>): Promise<string> {
  try {
    await act();
  } catch (error) {
    const connectError = ConnectError.from(error);
    return failureOf(connectError).reason ?? `no reason: ${connectError.message}`;
  }
  return "nothing failed";
}

/** What a call that must fail says for programs. */
export async function failureFrom(act: () => Promise<unknown>): Promise<Failure> {
  try {
    await act();
  } catch (error) {
    return failureOf(ConnectError.from(error));
  }
  throw new Error("nothing failed");
}

/** All that a stream brings. */
export async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

/** A reference to a run, at its newest commit or the one that is named. */
export const toRun = (name: string, commit = 0n) => ({ target: { case: "run" as const, value: { name, commit } } });
export const toTag = (name: string) => ({ target: { case: "tag" as const, value: name } });

/** The messages up to where `stop` says, without it: an upload that ends too early. */
export async function* cutAt<T extends { message: { case?: string | undefined } }>(
  messages: AsyncIterable<T>,
  stop: string,
): AsyncGenerator<T> {
  for await (const each of messages) {
    if (each.message.case === stop) return;
    yield each;
  }
}

/** The messages as a stream. */
export async function* stream<T>(items: Iterable<T>): AsyncGenerator<T> {
  yield* items;
}

/** A bare HTTP/2 connection. */
export async function withSession<T>(url: string, use: (session: ClientHttp2Session) => Promise<T>): Promise<T> {
  const session = connectHttp2(url);
  session.on("error", () => {});
  try {
    return await use(session);
  } finally {
    session.destroy();
  }
}

export interface RawAnswer {
  readonly headers: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** The code that the stream was reset with, 0 when it wasn't. */
  readonly resetCode: number;
}

/** One gRPC request of which each byte is the test's, and its whole answer. */
export function rawCall(
  session: ClientHttp2Session,
  method: string,
  body: Uint8Array,
  headers: OutgoingHttpHeaders = {},
): Promise<RawAnswer> {
  const { stream, answer } = openCall(session, method, headers);
  stream.end(body);
  return answer;
}

/** The same, with a body that the test sends, or doesn't. */
export function openCall(
  session: ClientHttp2Session,
  method: string,
  headers: OutgoingHttpHeaders = {},
): { stream: ClientHttp2Stream; answer: Promise<RawAnswer> } {
  const stream = session.request({
    ":method": "POST",
    ":path": `/dstack.artifacts.v1.ArtifactsService/${method}`,
    "content-type": "application/grpc",
    te: "trailers",
    authorization: `Bearer ${TOKEN}`,
    ...headers,
  });
  let first: IncomingHttpHeaders = {};
  let trailers: IncomingHttpHeaders = {};
  const parts: Buffer[] = [];
  stream.on("response", (each) => (first = each));
  stream.on("trailers", (each) => (trailers = each));
  stream.on("data", (part: Buffer) => parts.push(part));
  stream.on("error", () => {});
  const answer = once(stream, "close").then(() => ({
    headers: first,
    trailers,
    body: Buffer.concat(parts),
    resetCode: stream.rstCode ?? 0,
  }));
  return { stream, answer };
}

/** A gRPC message with its prefix; `flags` 1 says compressed. */
export function frame(message: Uint8Array, flags = 0, length = message.length): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt8(flags, 0);
  prefix.writeUInt32BE(length, 1);
  return Buffer.concat([prefix, message]);
}

/** The status that an answer ended with, and its reason. */
export function statusOf({ headers, trailers }: RawAnswer): { status: number; reason: string | undefined; message: string } {
  const end = trailers["grpc-status"] !== undefined ? trailers : headers;
  const details = end["grpc-status-details-bin"];
  const reason = details === undefined ? undefined : reasonIn(Buffer.from(String(details), "base64"));
  return { status: Number(end["grpc-status"] ?? -1), reason, message: decodeURIComponent(String(end["grpc-message"] ?? "")) };
}

function reasonIn(bytes: Buffer): string | undefined {
  const { code, message, details } = fromBinary(StatusSchema, bytes);
  const error = new ConnectError(message, code);
  error.details.push(...details.map(({ typeUrl, value }) => ({ type: typeUrl.replace(/^.*\//, ""), value })));
  return failureOf(error).reason;
}

/** Waits for something outside to become so. */
export async function until(what: string, check: () => boolean | Promise<boolean>, timeoutMs = 5_000): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (!(await check())) {
    if (Date.now() > end) throw new Error(`waited ${timeoutMs} ms in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
