/**
 * Ranges of objects over HTTP/1.1, read by the system straight into the buffer that they stay in: Node's own client hands on 64 KiB at a
 * time and copies each byte twice, for three times the CPU. docs/decisions/0012-ranges.md has the figures.
 */
import tls from "node:tls";
import { Connection, type Origin, type RangeAnswer, type RangeRequest } from "./ranges/connection.ts";

/** What a connection may take to come about, in milliseconds: a host that drops packets is told from one that is slow. */
export const CONNECTION_TIMEOUT_MS = 5000;

export interface RangeReader {
  /** Rejects when no whole range came, with the connection's error; any other answer is given as it comes. */
  read(request: RangeRequest): Promise<RangeAnswer>;
  /** Ends all connections. */
  close(): void;
}

/** Keeps connections for the next request. `ca` has certificates in PEM that are trusted instead of the system's. */
export function openRangeReader(ca: string | undefined, timeoutMs: number = CONNECTION_TIMEOUT_MS): RangeReader {
  const open = new Set<Connection>();
  const idle = new Map<string, Set<Connection>>();
  let context: tls.SecureContext | undefined;

  function connect(origin: Origin, siblings: Set<Connection>): Connection {
    if (origin.secure) context ??= tls.createSecureContext(ca === undefined ? {} : { ca });
    const connection = new Connection(origin, {
      secureContext: context,
      timeoutMs,
      onIdle: () => void siblings.add(connection),
      onClose() {
        siblings.delete(connection);
        open.delete(connection);
      },
    });
    open.add(connection);
    return connection;
  }

  return {
    async read(request) {
      const { origin, signal } = request;
      signal?.throwIfAborted();
      const key = `${origin.secure} ${origin.host} ${origin.port}`;
      const siblings = idle.get(key) ?? new Set();
      idle.set(key, siblings);
      // The one used last: the others may close for want of use.
      const connection = [...siblings].at(-1) ?? connect(origin, siblings);
      siblings.delete(connection);
      return connection.ask(request);
    },
    close() {
      for (const connection of open) connection.destroy();
    },
  };
}

/** Where a URL with these parts leads. */
export function originOf(protocol: string, hostname: string, port: string | number | undefined): Origin {
  const secure = protocol === "https:";
  return { secure, host: hostname.replace(/^\[|\]$/g, ""), port: Number(port) || (secure ? 443 : 80) };
}

/** Bytes that a request asks for by a range of the form `bytes=FIRST-LAST`. */
export function lengthOf({ range = "" }: Readonly<Record<string, string>>): number | undefined {
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(range) ?? [];
  return first === undefined ? undefined : Number(last) - Number(first) + 1;
}
