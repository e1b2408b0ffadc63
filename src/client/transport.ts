/** All calls but the transfers, as a transport for connect's typed client. */
import { create, type DescMessage, type DescMethod, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { wholeCodec } from "../wire/codec.ts";
import { readBatches, readWhole } from "../wire/inbound.ts";
import { MAX_MESSAGE_BYTES } from "../wire/limits.ts";
import { createOutbound } from "../wire/outbound.ts";
import { createMessageReader } from "../wire/reader.ts";
import { createMessageWriter } from "../wire/writer.ts";
import type { Call } from "./call.ts";
import type { Caller } from "./caller.ts";

/** Listings of 10,000 long paths are larger than other messages. */
const MAX_ANSWER_BYTES = 8 * MAX_MESSAGE_BYTES;
/** The reason of a cancellation that nobody is told of. */
const LEFT = new Error("the caller left the call");

/** `timeoutMs`: how long the connection may stand still; a call's own timeout is its deadline. */
export function createHttp2Transport(caller: Caller, timeoutMs: number): Transport {
  const begin = (method: DescMethod, signal: AbortSignal | undefined, deadlineMs: number | undefined) =>
    caller.call(method.name, {
      signal,
      timeoutMs,
      ...(deadlineMs === undefined ? {} : { headers: { "grpc-timeout": `${Math.ceil(deadlineMs)}m` } }),
    });
  return {
    async unary(method, signal, deadlineMs, _header, input) {
      const running = await begin(method, signal, deadlineMs);
      sendRequest(running, method.input, input);
      const message = await readAnswer(running, method.output, MAX_ANSWER_BYTES);
      return { stream: false, service: method.parent, method, header: new Headers(), trailer: new Headers(), message };
    },
    async stream(method, signal, deadlineMs, _header, input) {
      const running = await begin(method, signal, deadlineMs);
      // Uploads are transfers; every other stream has one request.
      for await (const request of input) sendRequest(running, method.input, request);
      const message = readAnswers(running, method.output);
      return { stream: true, service: method.parent, method, header: new Headers(), trailer: new Headers(), message };
    },
  };
}

/** Sends all that the client has to say in a call. */
export function sendRequest<D extends DescMessage>({ stream }: Call, schema: D, request: MessageInitShape<D>): void {
  createOutbound(stream).write(createMessageWriter(wholeCodec(schema))([{ case: "whole", value: create(schema, request) }]));
  stream.end();
}

/** The one message of an answer. What the status says goes before what is wrong with the messages. */
export async function readAnswer<D extends DescMessage>(running: Call, schema: D, maxBytes: number): Promise<MessageShape<D>> {
  const answer = await readWhole(running.stream, schema, maxBytes, running.failure).catch((error) => {
    throw running.failure() ?? error;
  });
  const failure = running.failure();
  if (failure !== undefined) throw failure;
  return answer;
}

async function* readAnswers<D extends DescMessage>(running: Call, schema: D): AsyncGenerator<MessageShape<D>, void, undefined> {
  const reader = createMessageReader(wholeCodec(schema), { maxChunkBytes: 0, maxMessageBytes: MAX_ANSWER_BYTES });
  try {
    for await (const batch of readBatches(running.stream, reader, running.failure)) for (const message of batch) yield message.value;
    const failure = running.failure();
    if (failure !== undefined) throw failure;
  } finally {
    running.cancel(LEFT);
  }
}
