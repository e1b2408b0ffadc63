/** HTTP requests of one answer each, over kept connections. */
import http from "node:http";
import https from "node:https";
import { Readable } from "node:stream";
import type { Agents } from "../cloud/agents.ts";
import { collect, collectSmall } from "../cloud/bytes.ts";

export interface HttpRequest {
  readonly method: "GET" | "POST" | "DELETE";
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly body?: Buffer | Readable;
  readonly signal: AbortSignal | undefined;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Uint8Array;
}

/** Rejects when no whole answer came; any status is an answer. */
export async function send(agents: Agents, request: HttpRequest): Promise<HttpAnswer> {
  const response = await begin(agents, request);
  const length = response.headers["content-length"];
  const body = length === undefined ? await collectSmall(response) : await collect(response, Number(length));
  return { status: response.statusCode ?? 0, headers: response.headers, body };
}

function begin(agents: Agents, { method, url, headers, body, signal }: HttpRequest): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    const secure = url.startsWith("https:");
    const options = { method, headers, agent: secure ? agents.httpsAgent : agents.httpAgent, ...(signal ? { signal } : {}) };
    const request = secure ? https.request(url, options, resolve) : http.request(url, options, resolve);
    // Stays for good: a refused body may still be on its way when the answer has come.
    request.on("error", reject);
    if (body instanceof Readable) body.pipe(request);
    else request.end(body);
  });
}
