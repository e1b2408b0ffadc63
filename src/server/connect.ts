/** connect's handlers for what the hot path doesn't take: every call in gRPC, gRPC-Web and Connect. */

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { Code, ConnectError, type ConnectRouter, createConnectRouter, createContextValues, type Interceptor } from "@connectrpc/connect";
import type { UniversalHandler, UniversalServerRequest } from "@connectrpc/connect/protocol";
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from "@connectrpc/connect-node";
import { untilAborted } from "../lib/abort.ts";
import { MAX_MESSAGE_BYTES } from "../wire/limits.ts";
import type { Call } from "./calls.ts";
import { checkedMessage } from "./request-message.ts";
import { abortable } from "./rpc/abortable.ts";
import { callKey } from "./rpc/context.ts";
import { dropUnread, stopSending } from "./stop-client.ts";

/** A request of either version of HTTP. */
export type ServerRequest = IncomingMessage | Http2ServerRequest;
export type ServerAnswer = ServerResponse | Http2ServerResponse;

export interface ConnectHandler {
  /** Of all calls, `/package.Service/Method`. */
  readonly paths: ReadonlySet<string>;
  /** Answers a request whose path is one of `paths`. */
  handle(request: ServerRequest, response: ServerAnswer, call: Call): void;
}

/** Stands in for an authority that is no part of a URL, which connect-node would throw at. */
const ANY_AUTHORITY = "localhost";

export function createConnectHandler(routes: (router: ConnectRouter) => void): ConnectHandler {
  const router = createConnectRouter({
    interceptors: [outcomes],
    // Files are mostly compressed already, and a request that grows when it is read is a way to attack.
    acceptCompression: [],
    readMaxBytes: MAX_MESSAGE_BYTES,
    writeMaxBytes: 2 ** 32 - 1,
  });
  routes(router);
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));

  async function answer(request: ServerRequest, response: ServerAnswer, call: Call): Promise<void> {
    const handler = handlers.get(pathOf(request.url));
    if (handler === undefined) throw new ConnectError("no such call", Code.Unimplemented);
    // connect-node waits for a drain that never comes when the client is gone, and would keep the stream's generator for ever.
    response.once("close", () => response.emit("drain"));
    if ("stream" in request) {
      const { stream } = request;
      response.once("finish", () => stopSending(stream));
      call.signal.addEventListener("abort", () => dropUnread(stream), { once: true });
    }
    const values = createContextValues().set(callKey, call);
    const universal = universalRequestFromNodeRequest(request, response, undefined, values);
    const answered = await handler({ ...universal, body: bodyFor(handler, universal, call) });
    await universalResponseToNodeResponse({ ...answered, body: noted(answered.body, call) }, response);
  }

  return {
    paths: new Set(handlers.keys()),
    handle(request, response, call) {
      checkAuthority(request);
      answer(request, response, call).catch((error: unknown) => {
        // A client that went away; everything else was answered within connect.
        call.log.debug({ err: error }, "the answer could not be sent");
        if (!response.headersSent) response.statusCode = 500;
        response.end();
      });
    },
  };
}

function bodyFor(
  { method, supportedContentType }: UniversalHandler,
  request: UniversalServerRequest,
  call: Call,
): AsyncIterable<Uint8Array> {
  const body = request.body as AsyncIterable<Uint8Array>;
  const contentType = request.header.get("content-type") ?? "";
  const one = method.methodKind === "unary" || method.methodKind === "server_streaming";
  return one && supportedContentType(contentType)
    ? observed(checkedMessage(abortable(body, call.signal), contentType, method.input), call, call.signal)
    : body;
}

/** Notes what connect refused by itself: a compression, a content type, a method or a timeout that isn't one. */
async function* noted(body: AsyncIterable<Uint8Array> | undefined, call: Call): AsyncGenerator<Uint8Array, void, undefined> {
  if (body !== undefined) yield* body;
  if (!call.settled) call.fail(new ConnectError("the request is not one of its protocol", Code.InvalidArgument));
}

/** The path without a query. */
export function pathOf(url: string | undefined): string {
  const [path = ""] = (url ?? "").split("?", 1);
  return path;
}

/** grpcio sends a Unix socket's path, percent-encoded, and anybody may send anything. Nothing here needs it. */
function checkAuthority({ headers }: ServerRequest): void {
  const name = ":authority" in headers ? ":authority" : "host";
  const given = headers[name];
  if (typeof given !== "string" || given === "" || !URL.canParse(`http://${given}`)) headers[name] = ANY_AUTHORITY;
}

/** Notes how a call ended, tells the client our errors, and ends it when its signal says so, whatever its handler waits for. */
const outcomes: Interceptor = (next) => async (request) => {
  const call = request.contextValues.get(callKey);
  if (call === undefined) throw new ConnectError("a call without its life", Code.Internal);
  const signal = AbortSignal.any([request.signal, call.signal]);
  // A deadline ends what is done for the call, too.
  request.signal.addEventListener("abort", () => call.cancel(request.signal.reason), { once: true });
  try {
    const response = await untilAborted(Promise.resolve(next(request)), signal);
    if (!response.stream) {
      call.succeed();
      return response;
    }
    return { ...response, message: succeeding(observed(abortable(response.message, signal), call, signal), call) };
  } catch (error) {
    throw call.fail(signal.aborted ? whyAborted(signal) : error);
  }
};

/** connect says nothing of why when an HTTP/1.1 client goes away. */
function whyAborted({ reason }: AbortSignal): ConnectError {
  return reason instanceof ConnectError ? reason : new ConnectError("the client has gone away", Code.Canceled);
}

async function* succeeding<T>(items: AsyncIterable<T>, call: Call): AsyncGenerator<T, void, undefined> {
  yield* items;
  call.succeed();
}

/** Tells the client our errors. */
async function* observed<T>(items: AsyncIterable<T>, call: Call, signal: AbortSignal): AsyncGenerator<T, void, undefined> {
  try {
    yield* items;
  } catch (error) {
    throw call.fail(signal.aborted ? whyAborted(signal) : error);
  }
}
