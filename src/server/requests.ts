/** From a request's headers to who answers it: lets it in or refuses it before any of its body is read. */

import type { IncomingMessage, ServerResponse } from "node:http";
import { Http2ServerRequest, Http2ServerResponse, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import { ArtifactsFailure } from "../artifacts/errors.ts";
import { authorize } from "./access.ts";
import { type Call, type Calls, stopping } from "./calls.ts";
import { type ConnectHandler, pathOf, type ServerAnswer, type ServerRequest } from "./connect.ts";
import { runAs } from "./current-call.ts";
import type { OnStream } from "./http2.ts";
import type { Operations } from "./operations.ts";
import type { Limits } from "./options.ts";
import { refuseHttp1, refuseStream } from "./refuse.ts";
import type { Token } from "./tokens.ts";

export interface RequestsOptions {
  readonly calls: Calls;
  readonly connect: ConnectHandler;
  readonly operations: Operations;
  /** Takes an HTTP/2 stream over, or says `false`. */
  readonly hotPath: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => boolean;
  readonly limits: Limits;
  /** Aborted when the server begins to stop. */
  readonly stopping: AbortSignal;
}

export interface Requests {
  readonly onStream: OnStream;
  readonly onRequest: (request: IncomingMessage, response: ServerResponse) => void;
}

/** `tokens` gives those that let somebody in now; without any, everybody who got a connection is. */
export function createRequests(options: RequestsOptions, tokens: () => readonly Token[]): Requests {
  const { calls, connect, operations, hotPath, limits } = options;

  function begin(url: string | undefined, headers: IncomingHttpHeaders, peer: string | undefined): { path: string; call: Call } {
    const path = pathOf(url);
    const isCall = connect.paths.has(path);
    const known = isCall || operations.paths.has(path);
    return { path, call: calls.begin({ path, known, headers, protocol: isCall ? protocolOf(headers) : "http", peer }) };
  }

  /** What keeps a request out, if anything does. */
  function refusal(path: string, headers: IncomingHttpHeaders, call: Call): ConnectError | undefined {
    try {
      call.principal = authorize(tokens(), path, headers);
      // How the server does can be asked at any time.
      if (operations.paths.has(path)) return undefined;
      if (options.stopping.aborted) throw stopping("a new call");
      if (calls.running > limits.maxCalls)
        throw new ArtifactsFailure("SERVER_BUSY", `${limits.maxCalls} calls run already: try again later`);
      return undefined;
    } catch (error) {
      return call.fail(error);
    }
  }

  function answer(path: string, request: ServerRequest, response: ServerAnswer, call: Call): void {
    response.setHeader("x-request-id", call.requestId);
    if (connect.paths.has(path)) connect.handle(request, response, call);
    else void show(path, request, response, call);
  }

  async function show(path: string, request: ServerRequest, response: ServerAnswer, call: Call): Promise<void> {
    request.resume();
    try {
      if (!operations.paths.has(path)) {
        const unknown = call.fail(new ConnectError(`nothing is at ${path.slice(0, 200)}`, Code.Unimplemented));
        // A gRPC client reads a status of 404 as UNIMPLEMENTED.
        send(response, 404, "text/plain; charset=utf-8", `${unknown.rawMessage}\n`);
        return;
      }
      if (request.method !== "GET" && request.method !== "HEAD") {
        call.fail(new ConnectError("only GET is allowed", Code.InvalidArgument));
        response.setHeader("allow", "GET, HEAD");
        send(response, 405, "text/plain; charset=utf-8", "only GET is allowed\n");
        return;
      }
      const page = await operations.get(path);
      call.succeed();
      send(response, page.status, page.type, request.method === "HEAD" ? "" : page.body);
    } catch (error) {
      send(response, 500, "text/plain; charset=utf-8", `${call.fail(error).rawMessage}\n`);
    }
  }

  return {
    onStream(stream, headers, _flags, rawHeaders) {
      // A stream's own error says no more than its close does; without a listener it would end the process.
      stream.on("error", () => {});
      const { path, call } = begin(headers[":path"], headers, stream.session?.socket?.remoteAddress);
      stream.once("close", () => call.end());
      const refused = refusal(path, headers, call);
      if (refused !== undefined) {
        // It counts no longer, however slowly the client takes its answer: who is not let in must not keep others out.
        call.end();
        refuseStream(stream, headers, call.requestId, refused);
        return;
      }
      runAs(call, () => {
        if (hotPath(stream, headers)) return;
        answer(path, new Http2ServerRequest(stream, headers, {}, rawHeaders), new Http2ServerResponse(stream), call);
      });
    },
    onRequest(request, response) {
      const { path, call } = begin(request.url, request.headers, request.socket.remoteAddress);
      response.once("close", () => call.end());
      const refused = refusal(path, request.headers, call);
      if (refused !== undefined) {
        call.end();
        refuseHttp1(request, response, call.requestId, refused);
        return;
      }
      runAs(call, () => answer(path, request, response, call));
    },
  };
}

function send(response: ServerAnswer, status: number, type: string, body: string): void {
  response.statusCode = status;
  response.setHeader("content-type", type);
  response.end(body);
}

function protocolOf(headers: IncomingHttpHeaders): string {
  const type = headers["content-type"] ?? "";
  if (type.startsWith("application/grpc-web")) return "grpc-web";
  return type.startsWith("application/grpc") ? "grpc" : "connect";
}
