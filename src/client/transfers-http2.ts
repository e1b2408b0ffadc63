/** Uploads and downloads straight on HTTP/2 streams, by the same codec as the server's. */
import { constants } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import { ArtifactsService, DownloadRequestSchema, UploadResponseSchema } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { Semaphore } from "../lib/semaphore.ts";
import { downloadCodec, uploadCodec } from "../wire/codec.ts";
import { readBatches } from "../wire/inbound.ts";
import { MAX_CHUNK_BYTES, MAX_MESSAGE_BYTES } from "../wire/limits.ts";
import type { UploadMessage } from "../wire/messages.ts";
import { createOutbound } from "../wire/outbound.ts";
import { createMessageReader } from "../wire/reader.ts";
import { createMessageWriter } from "../wire/writer.ts";
import type { Call } from "./call.ts";
import { type Caller, type CallerOptions, createCaller } from "./caller.ts";
import type { Transfers } from "./transfers.ts";
import { readAnswer, sendRequest } from "./transport.ts";

const readerLimits = { maxChunkBytes: MAX_CHUNK_BYTES, maxMessageBytes: MAX_MESSAGE_BYTES };
/** The reason of a cancellation that nobody is told of: the caller left. */
const LEFT = new Error("the caller left the download");

/**
 * Transfers over two connections, which they close with themselves: uploads have one of their own, and downloads share the caller's. Node
 * reads nothing from an HTTP/2 connection while it waits for the peer to take what it wrote. Were much under way in both directions, a
 * client and a server on Node would each wait for the other, for ever.
 */
export function createHttp2Transfers(options: CallerOptions, caller: Caller = createCaller(options)): Transfers {
  const { upload, download } = ArtifactsService.method;
  const uploads = createCaller(options);
  /** Held files are much to ask with, beside downloads that run: one such request at a time fits where nobody reads. */
  const asking = new Semaphore(1);
  return {
    async upload(messages, uploadOptions = {}) {
      const running = await uploads.call(upload.name, uploadOptions);
      void send(running, messages[Symbol.asyncIterator](), uploadOptions.onSent);
      try {
        return await readAnswer(running, UploadResponseSchema, MAX_MESSAGE_BYTES);
      } finally {
        // After an early answer the rest is not to be sent.
        if (!running.stream.writableEnded) running.stream.close(constants.NGHTTP2_CANCEL);
      }
    },

    async *download(request, downloadOptions = {}) {
      const begin = async (): Promise<Call> => {
        const call = await caller.call(download.name, downloadOptions);
        sendRequest(call, DownloadRequestSchema, request);
        return call;
      };
      const isLong = request.held.length > 0;
      const running = isLong ? await asking.run(async () => answered(await begin()), downloadOptions.signal) : await begin();
      try {
        // A good status may have come, and the connection have gone, while bytes before it were still unread.
        const lost = () =>
          running.failure() ?? new ConnectError("the connection was lost before the end of the answer was read", Code.Unavailable);
        yield* readBatches(running.stream, createMessageReader(downloadCodec, readerLimits), lost);
        const failure = running.failure();
        if (failure !== undefined) throw failure;
      } finally {
        running.cancel(LEFT);
      }
    },

    async close() {
      await Promise.all([uploads.close(), caller.close()]);
    },
  };
}

/** The call, once the server has read its request, or it is over. */
async function answered(call: Call): Promise<Call> {
  const { stream } = call;
  if (!stream.destroyed) await new Promise<void>((resolve) => void stream.once("response", () => resolve()).once("close", resolve));
  return call;
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
      await outbound.write(write(next.value));
    }
  } catch (error) {
    call.cancel(error);
  }
}
