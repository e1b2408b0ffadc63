/** HTTP requests of one answer each, over kept connections. */
import http from "node:http";
import https from "node:https";
import { Readable } from "node:stream";
import type { ReadOptions } from "../../driver.ts";
import { collect, collectSmall } from "../cloud/bytes.ts";
import type { Connections } from "../cloud/connections.ts";
import { lengthOf, originOf } from "../cloud/ranges.ts";

export interface HttpRequest {
  readonly method: "GET" | "POST" | "DELETE";
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly body?: Buffer | Readable;
  readonly signal: AbortSignal | undefined;
  /** Gives memory for the body where it is a range. */
  readonly allocate?: ReadOptions["allocate"];
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Uint8Array;
}

/** An answer whose body may still be on its way. */
interface Response {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Readable;
}

/** Rejects when no whole answer came; any status is an answer. */
export async function send(connections: Connections, request: HttpRequest): Promise<HttpAnswer> {
  const { status, headers, body } = await begin(connections, request);
  const length = headers["content-length"];
  return { status, headers, body: length === undefined ? await collectSmall(body) : await collect(body, Number(length), request.allocate) };
}

function begin(connections: Connections, { method, url, headers, body, signal, allocate }: HttpRequest): Promise<Response> {
  const { ranges } = connections;
  const length = lengthOf(headers);
  if (ranges && length !== undefined) {
    const { protocol, hostname, port, host, pathname, search } = new URL(url);
    const target = pathname + search;
    return ranges.read({ origin: originOf(protocol, hostname, port), target, headers: { host, ...headers }, length, signal, allocate });
  }
  return new Promise((resolve, reject) => {
    const secure = url.startsWith("https:");
    const options = { method, headers, agent: secure ? connections.httpsAgent : connections.httpAgent, ...(signal ? { signal } : {}) };
    const request = (secure ? https : http).request(url, options, (response) =>
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body: response }),
    );
    // Stays for good: a refused body may still be on its way when the answer has come.
    request.on("error", reject);
    if (body instanceof Readable) body.pipe(request);
    else request.end(body);
  });
}
