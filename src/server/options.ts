/** What a server is started with. */
import type { Logger } from "pino";
import type { Artifacts } from "../artifacts/types.ts";
import type { Metrics } from "./metrics.ts";
import type { Token } from "./tokens.ts";

export interface ServerOptions {
  /** Whose calls these are to answer. Closing the server doesn't close them. */
  readonly artifacts: Artifacts;
  /** "file", "memory", "s3", "azure" or "gcs". */
  readonly storeKind: string;
  /** The server's own version, for those who ask. */
  readonly version: string;
  /** The project of calls that name none. */
  readonly project: string;
  /** The run of uploads that name none. */
  readonly run: string;
  /** At least one of `unix:///path`, `http://host:port` and `https://host:port`; port 0 is a free one. */
  readonly listen: readonly string[];
  /** Who may call. Without any, Unix sockets are open to whoever can reach the file, and TCP is refused. */
  readonly tokens?: readonly Token[];
  /** For `https://` addresses. */
  readonly tls?: TlsFiles | undefined;
  readonly logger: Logger;
  /** Made by the server if absent; give one to have calls to the store in it. */
  readonly metrics?: Metrics;
  /** How long `close` lets running calls go on, in milliseconds. */
  readonly graceMs?: number;
  readonly limits?: Partial<Limits>;
}

/** Names of PEM files. They are read again when they change. */
export interface TlsFiles {
  readonly certFile: string;
  readonly keyFile: string;
  /** Clients must show a certificate that one of these authorities signed, beside a token. */
  readonly clientCaFile?: string | undefined;
}

/** What one peer, and all of them, may take. Times are milliseconds. */
export interface Limits {
  /** Connections to one address; more are closed at once. */
  readonly maxConnections: number;
  /** Calls that run at once over all connections; more get SERVER_BUSY. */
  readonly maxCalls: number;
  /** Streams that one HTTP/2 connection may have open. */
  readonly maxStreamsPerConnection: number;
  /** Bytes of a request's headers, as HTTP/2 counts them. */
  readonly maxHeaderBytes: number;
  /** From a connection's begin to its first request's protocol being known; of a TLS handshake; of HTTP/1.1 headers. */
  readonly handshakeTimeoutMs: number;
  /** A connection without calls is closed after this. */
  readonly idleTimeoutMs: number;
  /** A quiet connection with calls is asked for a sign of life, and is lost when none comes for so long. */
  readonly pingTimeoutMs: number;
  /** Pings that a peer may send at once, and how many more a second. */
  readonly pingBurst: number;
  readonly pingsPerSecond: number;
  /** Streams that a peer may reset at once, and how many more a second. */
  readonly resetBurst: number;
  readonly resetsPerSecond: number;
  /** Bytes that all connections together may have sent ahead of what calls have taken, beyond 64 KiB each. */
  readonly windowBytes: number;
  /** Time between two looks at the store for readiness, and how long one may take. */
  readonly readinessIntervalMs: number;
  readonly readinessTimeoutMs: number;
  /** Time between two looks at the TLS files. */
  readonly tlsReloadMs: number;
}

const MIB = 1024 * 1024;

export const DEFAULT_LIMITS: Limits = {
  maxConnections: 10_000,
  maxCalls: 1_000,
  maxStreamsPerConnection: 100,
  maxHeaderBytes: 16 * 1024,
  handshakeTimeoutMs: 10_000,
  idleTimeoutMs: 300_000,
  pingTimeoutMs: 60_000,
  // grpc-core measures bandwidth with pings, some hundred a second at most on a fast link.
  pingBurst: 1_000,
  pingsPerSecond: 200,
  resetBurst: 500,
  resetsPerSecond: 50,
  // Eight connections at full speed.
  windowBytes: 64 * MIB,
  readinessIntervalMs: 5_000,
  readinessTimeoutMs: 4_000,
  tlsReloadMs: 10_000,
};

/** How long `close` lets calls run, unless it is told. */
export const DEFAULT_GRACE_MS = 10_000;
