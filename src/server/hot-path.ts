/**
 * Upload and Download for plain gRPC, straight on the HTTP/2 streams: the bytes of chunks are never joined or copied on the way between
 * socket and domain. Every other protocol, compression, content type and RPC is connect-node's, with the same handlers behind it.
 *
 * To be called from the server's "stream" event, before any Http2ServerRequest or Http2ServerResponse is made for the stream: those put
 * listeners of their own on it.
 */

import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  ArtifactsService,
  type DownloadRequest,
  DownloadRequestSchema,
  type UploadResponse,
  UploadResponseSchema,
} from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { downloadCodec, uploadCodec, wholeCodec } from "../wire/codec.ts";
import { readBatches, readWhole } from "../wire/inbound.ts";
import { MAX_CHUNK_BYTES, MAX_MESSAGE_BYTES } from "../wire/limits.ts";
import type { DownloadMessage, UploadMessage } from "../wire/messages.ts";
import { createOutbound } from "../wire/outbound.ts";
import { createMessageReader } from "../wire/reader.ts";
import { decodeTimeout, encodeStatus } from "../wire/status.ts";
import { createMessageWriter } from "../wire/writer.ts";
import { dropUnread, stopSending } from "./stop-client.ts";

/** One call, as its handler sees it. */
export interface HotCall {
  readonly method: "Upload" | "Download";
  readonly headers: IncomingHttpHeaders;
  readonly stream: ServerHttp2Stream;
  /** Aborted when the client cancels or goes away, at the call's deadline, when it is stopped, and when the call is over. */
  readonly signal: AbortSignal;
  /** Sent before the first message; may be added to until then. */
  readonly responseHeaders: Record<string, string>;
}

export interface HotPathHandlers {
  /** May refuse by throwing before it reads any message: the body isn't touched until then. A batch's bytes are its until it asks for the next. */
  readonly upload: (messages: AsyncIterable<readonly UploadMessage[]>, call: HotCall) => Promise<UploadResponse>;
  readonly download: (request: DownloadRequest, call: HotCall) => AsyncIterable<readonly DownloadMessage[]>;
  /** May refuse a call by throwing before anything of its body is read; absent: nothing is refused. */
  readonly authorize?: (call: HotCall) => void | Promise<void>;
  /** Of the call that begins: ends it early with its reason, whatever it waits for; absent: nothing does but the client and the deadline. */
  readonly stop?: () => AbortSignal;
  /** Makes the error that the client gets of what a handler threw. */
  readonly toError: (error: unknown) => ConnectError;
}

export interface HotPathLimits {
  readonly maxChunkBytes?: number;
  readonly maxMessageBytes?: number;
}

// A Map, not an object: the path is the client's word, and objects know `constructor`.
const PATHS: ReadonlyMap<string, HotCall["method"]> = new Map([
  [`/${ArtifactsService.typeName}/${ArtifactsService.method.upload.name}`, "Upload"],
  [`/${ArtifactsService.typeName}/${ArtifactsService.method.download.name}`, "Download"],
]);
const CONTENT_TYPES: ReadonlySet<string> = new Set(["application/grpc", "application/grpc+proto"]);

/** Gives a function that takes a stream over, or says `false` and leaves it as it is. */
export function createHotPath(
  handlers: HotPathHandlers,
  limits: HotPathLimits = {},
): (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => boolean {
  const { maxChunkBytes = MAX_CHUNK_BYTES, maxMessageBytes = MAX_MESSAGE_BYTES } = limits;
  const readerLimits = { maxChunkBytes, maxMessageBytes };

  async function upload(call: HotCall, reply: Reply): Promise<void> {
    await handlers.authorize?.(call);
    const messages = readBatches(call.stream, createMessageReader(uploadCodec, readerLimits), clientGone, { lent: true });
    const response = await handlers.upload(messages, call);
    reply.begin();
    createOutbound(call.stream).write(createMessageWriter(wholeCodec(UploadResponseSchema))([{ case: "whole", value: response }]));
  }

  async function download(call: HotCall, reply: Reply): Promise<void> {
    await handlers.authorize?.(call);
    const request = await readWhole(call.stream, DownloadRequestSchema, maxMessageBytes, clientGone);
    const write = createMessageWriter(downloadCodec, maxChunkBytes);
    const outbound = createOutbound(call.stream);
    for await (const batch of handlers.download(request, call)) {
      reply.begin();
      await outbound.write(write(batch));
      // Before the next batch is asked for, which lets this one's bytes be written over: a closed stream may still hold them.
      if (call.signal.aborted) throw call.signal.reason;
    }
  }

  return (stream, headers) => {
    const method = PATHS.get(headers[":path"] ?? "");
    const contentType = headers["content-type"] ?? "";
    const encoding = headers["grpc-encoding"] ?? "identity";
    if (method === undefined || headers[":method"] !== "POST" || !CONTENT_TYPES.has(contentType) || encoding !== "identity") return false;
    void serve(stream, headers, method, method === "Upload" ? upload : download, handlers);
    return true;
  };
}

/** Runs a call to its end, whatever that is. */
async function serve(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  method: HotCall["method"],
  run: (call: HotCall, reply: Reply) => Promise<void>,
  { toError, stop }: HotPathHandlers,
): Promise<void> {
  const controller = new AbortController();
  const { signal } = controller;
  const call: HotCall = { method, headers, stream, signal, responseHeaders: {} };
  const reply = createReply(call);
  // The stream's own error says no more than its close does; without a listener it would end the process.
  stream.on("error", () => {});
  stream.once("close", () => controller.abort(clientGone()));
  const stopped = stop?.();
  stopped?.addEventListener("abort", () => controller.abort(stopped.reason), { once: true });
  let timer: NodeJS.Timeout | undefined;
  let error: ConnectError | undefined;
  try {
    const timeoutMs = decodeTimeout(headers["grpc-timeout"]);
    if (timeoutMs !== undefined)
      timer = setTimeout(() => controller.abort(new ConnectError("the call's deadline has passed", Code.DeadlineExceeded)), timeoutMs);
    // A handler that doesn't look at the signal must not keep the client waiting.
    await Promise.race([run(call, reply), aborted(signal)]);
  } catch (thrown) {
    error = toError(signal.aborted ? signal.reason : thrown);
  }
  clearTimeout(timer);
  reply.end(error);
  controller.abort(error ?? clientGone());
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

function clientGone(): ConnectError {
  return new ConnectError("the client has gone away", Code.Canceled);
}

/** The answer to one call. */
interface Reply {
  /** Sends the headers, once. */
  begin(): void;
  /** Sends the status. */
  end(error: ConnectError | undefined): void;
}

function createReply({ stream, headers, responseHeaders }: HotCall): Reply {
  let trailers: OutgoingHttpHeaders = {};
  const first = (): OutgoingHttpHeaders => ({ ":status": 200, "content-type": headers["content-type"], ...responseHeaders });

  return {
    begin() {
      if (stream.headersSent || stream.closed || stream.destroyed) return;
      stream.once("wantTrailers", () => {
        stream.sendTrailers(trailers);
        stopSending(stream);
      });
      stream.respond(first(), { waitForTrailers: true });
    },
    end(error) {
      if (stream.closed || stream.destroyed) return;
      trailers = encodeStatus(error);
      if (stream.headersSent) {
        stream.end();
        if (error !== undefined) dropUnread(stream);
      } else {
        stream.respond({ ...first(), ...trailers }, { endStream: true });
        stopSending(stream);
      }
      // Nobody reads what still comes.
      stream.resume();
    },
  };
}
