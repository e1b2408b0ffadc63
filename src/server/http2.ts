/** The HTTP/2 end of connections: what one peer may take of the server, and when a connection ends. */
import {
  constants,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { Socket } from "node:net";
import type { Logger } from "pino";
import { createTokenBucket } from "../lib/token-bucket.ts";
import { CONNECTION_WINDOW_BYTES, MAX_FRAME_BYTES, SESSION_MEMORY_MB, STREAM_WINDOW_BYTES } from "../wire/limits.ts";
import type { Limits } from "./options.ts";

export type OnStream = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number, rawHeaders: readonly string[]) => void;

export interface Http2 {
  /** Serves a connection; what was read of it already was put back. */
  accept(socket: Socket): void;
  /** Says GOAWAY to all: calls that run may end, no new ones begin. */
  drain(): void;
  /** Ends all connections at once. */
  destroy(): void;
}

/** Streams that a peer may open beyond the limit, and frames of no sense that it may send, before it is cut off. */
const REJECTED_STREAMS = 100;
const INVALID_FRAMES = 50;
/** Headers and their values, each name a pair. */
const HEADER_PAIRS = 64;
/** What a connection may send ahead by HTTP/2's rules, before it is given more. */
const PLAIN_WINDOW_BYTES = 65_535;

export function createHttp2(limits: Limits, logger: Logger, onStream: OnStream): Http2 {
  const sessions = new Set<ServerHttp2Session>();
  const sockets = new Set<Socket>();
  /** Of `limits.windowBytes`: what no connection has. */
  let windowLeft = limits.windowBytes;
  const server: Http2Server = createServer({
    settings: {
      enableConnectProtocol: false,
      initialWindowSize: STREAM_WINDOW_BYTES,
      maxConcurrentStreams: limits.maxStreamsPerConnection,
      maxFrameSize: MAX_FRAME_BYTES,
      maxHeaderListSize: limits.maxHeaderBytes,
    },
    maxHeaderListPairs: HEADER_PAIRS,
    maxSessionInvalidFrames: INVALID_FRAMES,
    maxSessionMemory: SESSION_MEMORY_MB,
    maxSessionRejectedStreams: REJECTED_STREAMS,
    streamResetBurst: limits.resetBurst,
    streamResetRate: limits.resetsPerSecond,
  });
  server.on("stream", onStream as (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void);
  // Peers that break the protocol, or whose connection breaks, are nothing that a server can help.
  server.on("sessionError", (error) => logger.debug({ err: error }, "connection failed"));
  server.on("session", (session) => {
    sessions.add(session);
    let streams = 0;
    let window = 0;
    const pings = createTokenBucket(limits.pingBurst, limits.pingsPerSecond);
    let asked: NodeJS.Timeout | undefined;

    session.on("stream", (stream: ServerHttp2Stream) => {
      if (streams++ === 0) widen();
      stream.once("close", () => {
        if (--streams === 0) narrow();
      });
    });
    session.on("ping", () => {
      if (pings.take()) return;
      logger.info({ peer: session.socket?.remoteAddress }, "a peer floods its connection with pings: closed");
      session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM);
    });
    // Not the session's own: Node doesn't stop that when the connection goes, and keeps the session in memory until it is over.
    const idle = setTimeout(() => {
      if (streams === 0) session.close();
    }, limits.idleTimeoutMs);
    idle.unref();
    session.once("close", () => {
      sessions.delete(session);
      clearTimeout(idle);
      clearInterval(asked);
      windowLeft += window;
      window = 0;
    });

    // A connection without calls needs no window; those with calls share what there is, first come, first served.
    function widen(): void {
      if (session.destroyed) return;
      window = Math.min(CONNECTION_WINDOW_BYTES, windowLeft);
      windowLeft -= window;
      if (window > PLAIN_WINDOW_BYTES) session.setLocalWindowSize(window);
      asked = setInterval(askForLife, limits.pingTimeoutMs);
      asked.unref();
    }
    function narrow(): void {
      clearInterval(asked);
      if (session.destroyed) return;
      idle.refresh();
      if (window > PLAIN_WINDOW_BYTES) session.setLocalWindowSize(PLAIN_WINDOW_BYTES);
      windowLeft += window;
      window = 0;
    }
    // A peer that vanished without a word would hold its calls for ever.
    let answered = true;
    function askForLife(): void {
      if (session.destroyed) return;
      if (!answered) {
        session.destroy();
        return;
      }
      answered = false;
      const sent = session.ping((error) => {
        answered ||= error === null;
      });
      // Not sent while earlier ones wait, which is no answer either.
      if (!sent) answered = false;
    }
  });

  return {
    accept(socket) {
      sockets.add(socket);
      socket.once("close", () => sockets.delete(socket));
      server.emit("connection", socket);
    },
    drain() {
      for (const session of sessions) session.close();
    },
    destroy() {
      for (const session of sessions) session.destroy();
      // A session that ended in peace waits for its peer to close the connection as well, which some never do.
      for (const socket of sockets) socket.destroy();
    },
  };
}
