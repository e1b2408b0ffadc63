/** One connection to a store, for one request at a time. */
import http from "node:http";
import net from "node:net";
import { Duplex, Readable } from "node:stream";
import tls from "node:tls";
import type { ReadOptions } from "../../../driver.ts";
import { CutOffError } from "../bytes.ts";
import { parseHead, type RangeHead } from "./head.ts";

/** Where a connection leads. */
export interface Origin {
  readonly secure: boolean;
  /** A name or an address; IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
}

/** A request for a part of an object, signed and all. */
export interface RangeRequest {
  readonly origin: Origin;
  /** Path and query, percent-encoded. */
  readonly target: string;
  /** `host` is among them. */
  readonly headers: Readonly<Record<string, string>>;
  /** Bytes that are asked for. */
  readonly length: number;
  readonly signal: AbortSignal | undefined;
  /** Gives memory for the range, as a driver's caller does. */
  readonly allocate?: ReadOptions["allocate"];
}

export interface RangeAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: http.IncomingHttpHeaders;
  /** A range's bytes, which have all come, are one chunk. */
  readonly body: Readable;
}

/** Bytes that an answer's head may have, as with Node's own parser. */
const MAX_HEAD_BYTES = 16 * 1024;

/** A request under way, and what came of its answer. */
interface Exchange {
  readonly request: RangeRequest;
  readonly resolve: (answer: RangeAnswer) => void;
  readonly reject: (error: unknown) => void;
  range?: { readonly head: RangeHead; readonly body: Uint8Array; received: number };
  /** Hands an answer of another form to Node's own parser. */
  replay?: Duplex;
}

export interface ConnectionOptions {
  /** Of secure ones: which certificates are trusted. */
  readonly secureContext: tls.SecureContext | undefined;
  /** What it may take to come about, in milliseconds. */
  readonly timeoutMs: number;

  /** It may be asked again. */
  onIdle(connection: Connection): void;
  onClose(connection: Connection): void;
}

export class Connection {
  readonly #socket: net.Socket;
  readonly #events: Pick<ConnectionOptions, "onIdle" | "onClose">;
  readonly #head = Buffer.allocUnsafeSlow(MAX_HEAD_BYTES);
  #headBytes = 0;
  #exchange: Exchange | undefined;

  constructor({ secure, host, port }: Origin, { secureContext, timeoutMs, ...events }: ConnectionOptions) {
    this.#events = events;
    const onread: net.OnReadOpts = { buffer: () => this.#destination(), callback: (count) => this.#received(count) };
    const options = { host, port, noDelay: true, keepAlive: true, onread };
    const name = net.isIP(host) === 0 ? { servername: host } : {};
    const socket = secure ? tls.connect({ ...options, ...name, secureContext, ALPNProtocols: ["http/1.1"] }) : net.connect(options);
    socket.setTimeout(timeoutMs, () => socket.destroy(failure("ETIMEDOUT", "the connection didn't come about in time")));
    socket.once(secure ? "secureConnect" : "connect", () => socket.setTimeout(0));
    socket.on("error", (error) => this.#ended(error));
    socket.on("end", () => this.#ended());
    socket.on("close", () => this.#ended());
    this.#socket = socket;
  }

  /** Sends a request; the connection must be new or idle. */
  ask(request: RangeRequest): Promise<RangeAnswer> {
    const text = textOf(request);
    return new Promise((resolve, reject) => {
      this.#exchange = { request, resolve, reject };
      request.signal?.addEventListener("abort", this.#onAbort, { once: true });
      this.#socket.ref();
      this.#socket.write(text, "latin1");
    });
  }

  destroy(): void {
    this.#socket.destroy();
  }

  readonly #onAbort = (): void => this.#ended(this.#exchange?.request.signal?.reason);

  /** Where the system puts what comes next: the bytes of a range go where they stay. */
  #destination(): Uint8Array {
    const range = this.#exchange?.range;
    return range ? range.body.subarray(range.received) : this.#head.subarray(this.#headBytes);
  }

  /** Takes bytes that have come to `#destination`. `false` stops the socket until it is resumed. */
  #received(count: number): boolean {
    const exchange = this.#exchange;
    if (exchange === undefined) {
      // Nothing was asked for.
      this.#socket.destroy();
      return false;
    }
    if (exchange.replay) return exchange.replay.push(Buffer.from(this.#head.subarray(0, count)));
    if (exchange.range) exchange.range.received += count;
    else {
      this.#headBytes += count;
      const begun = this.#head.subarray(0, this.#headBytes);
      const head = parseHead(begun, exchange.request.length);
      if (head === "other" || (head === "incomplete" && begun.length === this.#head.length)) return this.#handOn(exchange, begun);
      if (head === "incomplete") return true;
      const { allocate = Buffer.allocUnsafeSlow } = exchange.request;
      const body = allocate(head.contentLength).subarray(0, head.contentLength);
      exchange.range = { head, body, received: begun.copy(body, 0, head.length) };
    }
    const { head, body, received } = exchange.range;
    if (received < body.length) return true;
    const surplus = this.#headBytes - head.length > body.length;
    this.#forget(exchange);
    exchange.resolve({ status: 206, headers: head.headers, body: oneChunk(body) });
    if (!head.keepAlive || surplus) {
      this.#socket.destroy();
      return false;
    }
    this.#socket.unref();
    this.#events.onIdle(this);
    return true;
  }

  /** Lets Node's own parser read an answer from its first byte on. The connection isn't used again. */
  #handOn(exchange: Exchange, begun: Buffer): boolean {
    const socket = this.#socket;
    const replay = new Duplex({
      read: () => void socket.resume(),
      // The request, which the store has already.
      write: (_chunk, _encoding, done) => done(),
      destroy(error, done) {
        socket.destroy();
        done(error);
      },
    });
    this.#headBytes = 0;
    exchange.replay = replay;
    http
      .request({ createConnection: () => replay })
      .on("response", (body) => {
        body.once("close", () => replay.destroy());
        exchange.resolve({ status: body.statusCode ?? 0, headers: body.headers, body });
      })
      .on("error", exchange.reject)
      .end();
    return replay.push(Buffer.from(begun));
  }

  #ended(error?: Error): void {
    this.#socket.destroy();
    this.#events.onClose(this);
    const exchange = this.#exchange;
    if (exchange === undefined) return;
    this.#forget(exchange);
    const { range, replay } = exchange;
    if (replay) {
      if (error) replay.destroy(error);
      else replay.push(null);
    } else exchange.reject(error ?? (range ? new CutOffError(range.received, range.body.length) : failure("ECONNRESET", "socket hang up")));
  }

  #forget({ request }: Exchange): void {
    this.#exchange = undefined;
    this.#headBytes = 0;
    request.signal?.removeEventListener("abort", this.#onAbort);
  }
}

function textOf({ target, headers }: RangeRequest): string {
  if (/[^\x21-\x7e]/.test(target)) throw new TypeError("a request's target has characters that aren't percent-encoded");
  const fields = Object.entries(headers).map(([name, value]) => {
    http.validateHeaderName(name);
    http.validateHeaderValue(name, value);
    return `${name}: ${value}\r\n`;
  });
  return `GET ${target} HTTP/1.1\r\n${fields.join("")}\r\n`;
}

function oneChunk(bytes: Uint8Array): Readable {
  return new Readable({
    read() {
      if (bytes.length > 0) this.push(bytes);
      this.push(null);
    },
  });
}

function failure(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}
