/** One HTTP/2 connection to a server, made when it is needed and again when it was lost, and watched for silence. */

import { type ClientHttp2Session, connect, type SecureClientSessionOptions } from "node:http2";
import { connect as connectSocket } from "node:net";
import { Code, ConnectError } from "@connectrpc/connect";
import { CONNECTION_WINDOW_BYTES, MAX_FRAME_BYTES, SESSION_MEMORY_MB, STREAM_WINDOW_BYTES } from "../wire/limits.ts";

/** How much a caller lets pass before a silent connection counts as lost, if it doesn't say. */
export const DEFAULT_TIMEOUT_MS = 30_000;
/** How long a connection may take to be made, TLS included: over any network it takes a second or two, or forever. */
const CONNECT_TIMEOUT_MS = 10_000;
/** A silent connection is asked this often within a timeout whether it is there. */
const PINGS_PER_TIMEOUT = 3;

export interface ConnectionOptions {
  /** `unix:///path`, `http://host:port` or `https://host:port`. */
  readonly url: string;
  /** Of the connection: certificate authorities, a certificate of one's own. */
  readonly tls?: SecureClientSessionOptions | undefined;
}

export interface Connection {
  /** The session for the next call. Rejects with a ConnectError of code Unavailable, the socket's error as its cause. */
  session(): Promise<ClientHttp2Session>;
  close(): Promise<void>;
}

/** Why the connection of a call was lost: the first error of the session, which streams don't tell. */
const lossOf = new WeakMap<ClientHttp2Session, Error>();

/** The error of a call whose stream was closed without an answer. */
export function lost(session: ClientHttp2Session): ConnectError {
  const cause = lossOf.get(session);
  return new ConnectError(
    cause === undefined ? "the connection was lost" : `the connection was lost: ${cause.message}`,
    Code.Unavailable,
    undefined,
    undefined,
    cause,
  );
}

const unmade = new WeakSet<ConnectError>();

/** Whether an error says that there was no connection to begin with, so that nothing was sent. */
export function isUnmade(error: unknown): boolean {
  return error instanceof ConnectError && unmade.has(error);
}

export function createConnection({ url, tls }: ConnectionOptions): Connection {
  let current: Promise<ClientHttp2Session> | undefined;
  let closed = false;

  return {
    async session() {
      if (closed) throw new ConnectError("the client is closed", Code.Canceled);
      for (;;) {
        current ??= open(url, tls);
        const opening = current;
        try {
          const session = await opening;
          if (!session.closed && !session.destroyed) return session;
          if (current === opening) current = undefined;
        } catch (error) {
          if (current === opening) current = undefined;
          throw error;
        }
      }
    },
    async close() {
      closed = true;
      const session = await current?.catch(() => undefined);
      if (session === undefined || session.destroyed) return;
      await new Promise<void>((resolve) => {
        session.once("close", resolve);
        session.destroy();
      });
    },
  };
}

function open(url: string, tls: SecureClientSessionOptions | undefined): Promise<ClientHttp2Session> {
  return new Promise((resolve, reject) => {
    const target = new URL(url);
    const settings = { enablePush: false, initialWindowSize: STREAM_WINDOW_BYTES, maxFrameSize: MAX_FRAME_BYTES };
    const options = { ...tls, settings, maxSessionMemory: SESSION_MEMORY_MB };
    const session =
      target.protocol === "unix:"
        ? connect("http://localhost", { ...options, createConnection: () => connectSocket(decodeURIComponent(target.pathname)) })
        : connect(target.origin, options);
    const timer = setTimeout(() => session.destroy(new Error(`nothing answered within ${CONNECT_TIMEOUT_MS} ms`)), CONNECT_TIMEOUT_MS);
    session.once("connect", () => {
      clearTimeout(timer);
      session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
      resolve(session);
    });
    session.on("error", (error: Error) => {
      if (!lossOf.has(session)) lossOf.set(session, error);
    });
    session.once("close", () => {
      clearTimeout(timer);
      const cause = lossOf.get(session);
      const error = new ConnectError(
        `can't connect to ${url}: ${cause?.message ?? "the connection was closed"}`,
        Code.Unavailable,
        undefined,
        undefined,
        cause,
      );
      unmade.add(error);
      reject(error);
    });
    // What a server that is stopping says: calls that run may end, new ones go elsewhere.
    session.once("goaway", () => session.close());
  });
}

/** How many calls watch a session, and when it last gave a sign of life. */
interface Watch {
  calls: number;
  lastSign: number;
  lastCheck: number;
  shortest: number;
  timer: NodeJS.Timeout | undefined;
}
const watches = new WeakMap<ClientHttp2Session, Watch>();

/**
 * Watches a session while a call runs: after `timeoutMs` without a sign of life it is destroyed, and its calls fail as lost. Gives a
 * function to call at each sign of life, and one to call when the call is over.
 */
export function watch(session: ClientHttp2Session, timeoutMs: number): { alive: () => void; release: () => void } {
  let found = watches.get(session);
  if (found === undefined) watches.set(session, (found = { calls: 0, lastSign: 0, lastCheck: 0, shortest: timeoutMs, timer: undefined }));
  const state = found;
  state.shortest = state.calls === 0 ? timeoutMs : Math.min(state.shortest, timeoutMs);
  state.lastSign = performance.now();
  // A connection without calls must not keep the process alive.
  if (state.calls++ === 0) session.ref();
  schedule();

  function schedule(): void {
    state.lastCheck = performance.now();
    clearInterval(state.timer);
    state.timer = setInterval(check, state.shortest / PINGS_PER_TIMEOUT);
    state.timer.unref();
  }
  function check(): void {
    if (session.destroyed) return;
    const now = performance.now();
    // Time in which this process didn't come to look says nothing of the peer.
    state.lastSign += Math.max(0, now - state.lastCheck - state.shortest / PINGS_PER_TIMEOUT);
    state.lastCheck = now;
    const silent = now - state.lastSign;
    if (silent >= state.shortest) {
      const error = new Error(`no sign of life for ${Math.round(silent)} ms`);
      // Streams are closed before the session tells of the error.
      lossOf.set(session, error);
      session.destroy(error);
    } else if (silent >= state.shortest / (PINGS_PER_TIMEOUT + 1)) {
      session.ping((error) => {
        if (error === null) state.lastSign = performance.now();
      });
    }
  }
  return {
    alive() {
      state.lastSign = performance.now();
    },
    release() {
      if (--state.calls > 0) return;
      clearInterval(state.timer);
      if (!session.destroyed) session.unref();
    },
  };
}
