/** Upload and Download on the hot path, with each call's life around them. */
import { Code, ConnectError } from "@connectrpc/connect";
import type { Call } from "./calls.ts";
import { currentCall } from "./current-call.ts";
import { createHotPath, type HotCall } from "./hot-path.ts";
import type { Served } from "./rpc/context.ts";
import { invalid } from "./rpc/convert.ts";
import { sendDownload } from "./rpc/download.ts";
import { receiveUpload } from "./rpc/upload.ts";

export function createTransfers(served: Served): ReturnType<typeof createHotPath> {
  return createHotPath({
    async upload(messages, hot) {
      const call = prepare(hot);
      const response = await receiveUpload(served, messages, call);
      call.succeed();
      return response;
    },
    async *download(request, hot) {
      const call = prepare(hot);
      yield* sendDownload(served, request, call);
      call.succeed();
    },
    async authorize(hot) {
      // Whether the client may do it at all was looked at before the stream came here.
      hot.responseHeaders["x-request-id"] = running().requestId;
      // An empty body that came together with its headers has ended, once the runtime's ticks are through, before anybody listens.
      await Promise.resolve();
      if (hot.stream.readableEnded) throw invalid("the stream ended without a message");
    },
    toError: (error) => running().fail(error),
  });
}

function prepare({ signal }: HotCall): Call {
  const call = running();
  // The deadline is the hot path's to keep; what is done for the call ends with it.
  signal.addEventListener("abort", () => {
    const { reason } = signal;
    if (reason instanceof ConnectError && reason.code === Code.DeadlineExceeded) call.cancel(call.fail(reason));
  });
  return call;
}

function running(): Call {
  const call = currentCall();
  if (call === undefined) throw new Error("a transfer without its call");
  return call;
}
