/** The end of a call whose client doesn't do its part. */
import { constants, type ServerHttp2Stream } from "node:http2";

/** How long a client may take to read what lies before its status, in milliseconds. */
const STATUS_MS = 1_000;

/**
 * Once the answer is on its way: a client that still sends would go on, against a window that nobody opens. The reset comes after the
 * status, and NO_ERROR says that the status counts (RFC 9113, section 8.1).
 */
export function stopSending(stream: ServerHttp2Stream): void {
  // Trailers leave in a setImmediate of their own, which comes before this one.
  setImmediate(() => {
    if (!stream.closed && !stream.readableEnded) stream.close(constants.NGHTTP2_NO_ERROR);
  });
}

/** Of a call that failed: a reader that stalls would keep what waits for it for ever, and the call with it. */
export function dropUnread(stream: ServerHttp2Stream): void {
  if (stream.closed || stream.destroyed) return;
  const timer = setTimeout(() => {
    if (!stream.closed) stream.close(constants.NGHTTP2_CANCEL);
  }, STATUS_MS);
  stream.once("close", () => clearTimeout(timer));
}
