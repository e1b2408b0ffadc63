/** Answers a request without having read its body, in the protocol that it speaks. */

import type { IncomingMessage, ServerResponse } from "node:http";
import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Stream } from "node:http2";
import type { ConnectError } from "@connectrpc/connect";
import { codeToHttpStatus, endStreamFlag, endStreamToJson, errorToJson } from "@connectrpc/connect/protocol-connect";
import { encodeStatus } from "../wire/status.ts";
import { stopSending } from "./stop-client.ts";

interface Answer {
  readonly status: number;
  readonly headers: OutgoingHttpHeaders;
  readonly body?: Buffer;
}

const ENVELOPE_PREFIX_BYTES = 5;
const UNAUTHORIZED = 401;

function answerTo(headers: IncomingHttpHeaders, requestId: string, error: ConnectError): Answer {
  const type = headers["content-type"] ?? "";
  const common = { "x-request-id": requestId };
  if (type.startsWith("application/grpc")) {
    // gRPC and gRPC-Web alike take a status in the headers of an answer without a body.
    return { status: 200, headers: { ...common, "content-type": type, ...encodeStatus(error) } };
  }
  if (type.startsWith("application/connect+")) {
    const json = Buffer.from(JSON.stringify(endStreamToJson(new Headers(), error, undefined)));
    const prefix = Buffer.alloc(ENVELOPE_PREFIX_BYTES);
    prefix.writeUInt8(endStreamFlag, 0);
    prefix.writeUInt32BE(json.length, 1);
    return { status: 200, headers: { ...common, "content-type": type }, body: Buffer.concat([prefix, json]) };
  }
  const status = codeToHttpStatus(error.code);
  const challenge = status === UNAUTHORIZED ? { "www-authenticate": "Bearer" } : {};
  const body = Buffer.from(JSON.stringify(errorToJson(error, undefined)));
  return { status, headers: { ...common, ...challenge, "content-type": "application/json" }, body };
}

export function refuseStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, requestId: string, error: ConnectError): void {
  if (stream.destroyed || stream.closed) return;
  const answer = answerTo(headers, requestId, error);
  const head = { ":status": answer.status, ...answer.headers };
  if (answer.body === undefined) {
    stream.respond(head, { endStream: true });
  } else {
    stream.respond(head);
    stream.end(answer.body);
  }
  stopSending(stream);
  stream.resume();
}

export function refuseHttp1(request: IncomingMessage, response: ServerResponse, requestId: string, error: ConnectError): void {
  const answer = answerTo(request.headers, requestId, error);
  // What the client still sends isn't read, so the connection can't be used again.
  response.writeHead(answer.status, { ...answer.headers, connection: "close" });
  request.resume();
  response.end(answer.body);
}
