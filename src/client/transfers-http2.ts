/** Uploads and downloads straight on HTTP/2 streams, by the same codec as the server's. */
import { constants } from "node:http2";
import { ArtifactsService, DownloadRequestSchema, UploadResponseSchema } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { downloadCodec, uploadCodec, wholeCodec } from "../wire/codec.ts";
import { readBatches, readWhole } from "../wire/inbound.ts";
import { MAX_CHUNK_BYTES, MAX_MESSAGE_BYTES } from "../wire/limits.ts";
import type { UploadMessage } from "../wire/messages.ts";
import { createOutbound } from "../wire/outbound.ts";
import { createMessageReader } from "../wire/reader.ts";
import { createMessageWriter } from "../wire/writer.ts";
import { type Call, startCall } from "./call.ts";
import { type ConnectionOptions, createConnection, DEFAULT_TIMEOUT_MS } from "./connection.ts";
import type { TransferOptions, Transfers } from "./transfers.ts";

export interface Http2TransfersOptions extends ConnectionOptions {
  /** Bearer token. */
  readonly token?: string | undefined;
  /** Sent with every call. Names in lower case. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

const readerLimits = { maxChunkBytes: MAX_CHUNK_BYTES, maxMessageBytes: MAX_MESSAGE_BYTES };
/** The reason of a cancellation that nobody is told of: the caller left. */
const LEFT = new Error("the caller left the download");

/** Transfers over one connection, which is made by the first call and made again when it was lost. */
export function createHttp2Transfers(options: Http2TransfersOptions): Transfers {
  const connection = createConnection(options);
  const authorization = options.token === undefined ? {} : { authorization: `Bearer ${options.token}` };

  async function call(method: string, { signal, timeoutMs = DEFAULT_TIMEOUT_MS, headers }: TransferOptions): Promise<Call> {
    signal?.throwIfAborted();
    const session = await connection.session();
    signal?.throwIfAborted();
    const stream = session.request({
      ":method": "POST",
      ":path": `/${ArtifactsService.typeName}/${method}`,
      "content-type": "application/grpc+proto",
      te: "trailers",
      "user-agent": "dstack-artifacts",
      ...authorization,
      ...options.headers,
      ...headers,
    });
    return startCall(session, stream, timeoutMs, signal);
  }

  return {
    async upload(messages, uploadOptions = {}) {
      const running = await call(ArtifactsService.method.upload.name, uploadOptions);
      void send(running, messages[Symbol.asyncIterator](), uploadOptions.onSent);
      try {
        const response = await readWhole(running.stream, UploadResponseSchema, MAX_MESSAGE_BYTES, running.failure).catch((error) => {
          // What the status says goes before that there was no message.
          throw running.failure() ?? error;
        });
        const failure = running.failure();
        if (failure !== undefined) throw failure;
        return response;
      } finally {
        // After an early answer the rest is not to be sent.
        if (!running.stream.writableEnded) running.stream.close(constants.NGHTTP2_CANCEL);
      }
    },

    async *download(request, downloadOptions = {}) {
      const running = await call(ArtifactsService.method.download.name, downloadOptions);
      createOutbound(running.stream).write(createMessageWriter(wholeCodec(DownloadRequestSchema))([{ case: "whole", value: request }]));
      running.stream.end();
      try {
        yield* readBatches(running.stream, createMessageReader(downloadCodec, readerLimits), running.failure);
        const failure = running.failure();
        if (failure !== undefined) throw failure;
      } finally {
        running.cancel(LEFT);
      }
    },

    close: () => connection.close(),
  };
}

/** Sends messages until they end or the call is over. Never rejects: what `messages` throws is the call's failure. */
async function send(
  call: Call,
  source: AsyncIterator<readonly UploadMessage[]>,
  onSent: ((bytes: number) => void) | undefined,
): Promise<void> {
  const { stream } = call;
  const outbound = createOutbound(stream, (bytes) => {
    call.alive();
    onSent?.(bytes);
  });
  const write = createMessageWriter(uploadCodec);
  // Not waited for: a source that waits for bytes of its own may not answer.
  stream.once("close", () => void Promise.resolve(source.return?.()).catch(() => {}));
  try {
    while (!stream.closed) {
      const next = await source.next();
      if (stream.closed) return;
      if (next.done) {
        stream.end();
        return;
      }
      const wait = outbound.write(write(next.value));
      if (wait !== undefined) await wait;
    }
  } catch (error) {
    call.cancel(error);
  }
}
