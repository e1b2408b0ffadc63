/**
 * Stands between a client and a store's server, request by request: passes them on, keeps what was asked for, and does to chosen ones what
 * a bad line or a store in trouble does. Where a fault must strike a certain request, this is it; faults of whole connections are
 * toxiproxy's.
 */
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { Transform } from "node:stream";

/** A request as the store sees it. */
export interface SeenRequest {
  readonly method: string;
  /** Decoded, without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: http.IncomingHttpHeaders;
}

export type Fault =
  /** The store isn't asked; this is the answer. */
  | { readonly kind: "answer"; readonly status: number; readonly headers?: Record<string, string>; readonly body?: string }
  /** The store does what it is asked, and the connection is reset where its answer would begin. */
  | { readonly kind: "loseAnswer" }
  /** The answer's body ends with the connection after so many bytes. */
  | { readonly kind: "cutAnswer"; readonly bytes: number }
  /** A byte in the middle of the answer's body is another one. */
  | { readonly kind: "damageAnswer" }
  /** A byte in the middle of the request's body is another one when the store gets it. */
  | { readonly kind: "damageRequest" }
  /** The connection is reset after so many bytes of the request's body. */
  | { readonly kind: "resetRequest"; readonly bytes: number }
  /** Nothing happens, for as long as the caller likes. */
  | { readonly kind: "hang" };

export interface HttpProxy {
  readonly url: string;
  /** Everything that was asked for, in order. */
  readonly requests: readonly SeenRequest[];
  /** Faults that struck, in order. */
  readonly struck: readonly Fault[];
  /** Asked about each request, which waits until it is told; what it gives is done to it. Passes everything on at first. */
  onRequest: (request: SeenRequest) => Fault | undefined | Promise<Fault | undefined>;
  stop(): Promise<void>;
}

export async function startHttpProxy(target: string): Promise<HttpProxy> {
  const requests: SeenRequest[] = [];
  const struck: Fault[] = [];
  const { hostname, port } = new URL(target);
  const agent = new http.Agent({ keepAlive: true });
  const server = http.createServer(async (request, response) => {
    const seen = see(request);
    requests.push(seen);
    const fault = await proxy.onRequest(seen);
    if (fault !== undefined) struck.push(fault);
    if (fault?.kind === "hang") return;
    if (fault?.kind === "answer") return answer(request, response, fault);
    if (fault?.kind === "resetRequest") return resetAfter(request, fault.bytes);
    const { method, url: path, headers } = request;
    const onward = http.request({ hostname, port, method, path, headers, agent }, (back) => giveBack(back, response, fault));
    onward.on("error", () => response.destroy());
    // A caller that goes away takes its request with it.
    response.on("close", () => response.writableFinished || onward.destroy());
    if (fault?.kind === "damageRequest") request.pipe(damaging(Number(headers["content-length"]))).pipe(onward);
    else request.pipe(onward);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const proxy: HttpProxy = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    struck,
    onRequest: () => undefined,
    async stop() {
      server.close();
      server.closeAllConnections();
      agent.destroy();
      await once(server, "close");
    },
  };
  return proxy;
}

function see({ method = "", url = "", headers }: http.IncomingMessage): SeenRequest {
  const [path = "", query = ""] = url.split("?", 2);
  return { method, path: decodeURIComponent(path), query: new URLSearchParams(query), headers };
}

function answer(request: http.IncomingMessage, response: http.ServerResponse, fault: Fault & { kind: "answer" }): void {
  // The body is taken first, as a store that is only busy would.
  request.on("end", () => response.writeHead(fault.status, fault.headers).end(fault.body)).resume();
}

function resetAfter(request: http.IncomingMessage, bytes: number): void {
  let received = 0;
  request.on("data", (chunk: Buffer) => {
    received += chunk.length;
    if (received >= bytes) request.socket.resetAndDestroy();
  });
  request.on("end", () => request.socket.resetAndDestroy());
}

function giveBack(back: http.IncomingMessage, response: http.ServerResponse, fault: Fault | undefined): void {
  if (fault?.kind === "loseAnswer") {
    back.resume();
    response.socket?.resetAndDestroy();
    return;
  }
  response.writeHead(back.statusCode ?? 0, back.rawHeaders);
  if (fault?.kind === "damageAnswer") {
    back.pipe(damaging(Number(back.headers["content-length"]))).pipe(response);
    back.on("error", () => response.destroy());
    return;
  }
  let position = 0;
  back.on("data", (chunk: Buffer) => {
    position += chunk.length;
    if (fault?.kind === "cutAnswer" && position >= fault.bytes) {
      response.write(chunk.subarray(0, chunk.length - (position - fault.bytes)), () => response.destroy());
      back.destroy();
    } else if (!response.write(chunk)) {
      back.pause();
      response.once("drain", () => back.resume());
    }
  });
  back.on("end", () => response.end());
  back.on("error", () => response.destroy());
}

/** Passes a body of so many bytes on, but for one in its middle, which becomes another. */
function damaging(length: number): Transform {
  const middle = Math.floor(length / 2);
  let position = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const index = middle - position;
      position += chunk.length;
      if (index >= 0 && index < chunk.length) chunk[index] = (chunk[index] as number) ^ 0x20;
      done(null, chunk);
    },
  });
}
