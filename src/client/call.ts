/** One call on an HTTP/2 stream: how it ends, and why. */

import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  constants,
  type IncomingHttpHeaders,
  type IncomingHttpStatusHeader,
} from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import { codeFromHttpStatus } from "@connectrpc/connect/protocol-grpc";
import { decodeStatus } from "../wire/status.ts";
import { lost, watch } from "./connection.ts";

export interface Call {
  readonly stream: ClientHttp2Stream;
  /** Why the call failed; undefined when the server says that all is well, and until the stream has ended. */
  readonly failure: () => unknown;
  /** Says that the connection moves. */
  readonly alive: () => void;
  /** Ends the call if it runs; `reason` is then its failure. */
  readonly cancel: (reason: unknown) => void;
}

/** Watches over a call from its request on, until its stream is closed. */
export function startCall(
  session: ClientHttp2Session,
  stream: ClientHttp2Stream,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Call {
  const { alive, release } = watch(session, timeoutMs);
  let response: (IncomingHttpHeaders & IncomingHttpStatusHeader) | undefined;
  let trailers: IncomingHttpHeaders | undefined;
  let cancelled: { reason: unknown } | undefined;

  function cancel(reason: unknown): void {
    if (stream.destroyed) return;
    if (trailers === undefined) cancelled = { reason };
    // An answer that has arrived and that nobody reads to its end would hold the stream, and so the connection and the process.
    if (stream.closed) stream.destroy();
    else stream.close(constants.NGHTTP2_CANCEL);
  }
  const onAbort = () => cancel(signal?.reason);
  signal?.addEventListener("abort", onAbort, { once: true });

  stream.on("response", (headers, flags) => {
    alive();
    response = headers;
    if ((flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0) trailers = headers;
    else if (headers[":status"] !== 200) cancel(httpError(headers));
  });
  stream.on("trailers", (headers) => {
    trailers = headers;
  });
  stream.on("data", alive);
  // Its close says as much; without a listener it would end the process.
  stream.on("error", () => {});
  stream.once("close", () => {
    // Calls that run may end; the next one gets another connection.
    if (REFUSALS.has(stream.rstCode) && !session.closed) session.close();
    signal?.removeEventListener("abort", onAbort);
    release();
  });

  return {
    stream,
    alive,
    cancel,
    failure() {
      if (cancelled !== undefined) return cancelled.reason;
      if (response !== undefined && response[":status"] !== 200) return httpError(response);
      if (trailers !== undefined) return decodeStatus(trailers);
      if (!stream.closed && !stream.destroyed) return undefined;
      return resetError(session, stream.rstCode);
    },
  };
}

function httpError(headers: IncomingHttpStatusHeader): ConnectError {
  const status = headers[":status"] ?? 0;
  return new ConnectError(`the server answered with the HTTP status ${status}`, codeFromHttpStatus(status));
}

/** How a server resets calls that are too many for the connection. */
const REFUSALS: ReadonlySet<number> = new Set([constants.NGHTTP2_REFUSED_STREAM, constants.NGHTTP2_ENHANCE_YOUR_CALM]);

/** As gRPC maps HTTP/2's codes to its own. */
function resetError(session: ClientHttp2Session, code: number): ConnectError {
  if (REFUSALS.has(code)) return new ConnectError("the server took no more calls on this connection", Code.Unavailable);
  if (session.destroyed || session.closed) return lost(session);
  switch (code) {
    case constants.NGHTTP2_CANCEL:
      return new ConnectError("the server cancelled the call", Code.Unavailable);
    case constants.NGHTTP2_NO_ERROR:
      return new ConnectError("the answer ended without a status", Code.Unavailable);
    default:
      return new ConnectError(`the server reset the call with HTTP/2's code ${code}`, Code.Internal);
  }
}
