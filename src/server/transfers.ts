/** Upload and Download on the hot path, with each call's life around them. */
import type { Call } from "./calls.ts";
import { currentCall } from "./current-call.ts";
import { createHotPath } from "./hot-path.ts";
import type { Served } from "./rpc/context.ts";
import { sendDownload } from "./rpc/download.ts";
import { receiveUpload } from "./rpc/upload.ts";

export function createTransfers(served: Served): ReturnType<typeof createHotPath> {
  return createHotPath({
    // Whether the client may do it at all was looked at before the stream came here.
    authorize({ responseHeaders, signal }) {
      const call = running();
      responseHeaders["x-request-id"] = call.requestId;
      // The deadline is the hot path's to keep; what is done for the call ends with it.
      signal.addEventListener("abort", () => call.cancel(signal.reason), { once: true });
    },
    async upload(messages) {
      const call = running();
      const response = await receiveUpload(served, messages, call);
      call.succeed();
      return response;
    },
    async *download(request) {
      const call = running();
      yield* sendDownload(served, request, call);
      call.succeed();
    },
    stop: () => running().signal,
    toError: (error) => running().fail(error),
  });
}

function running(): Call {
  const call = currentCall();
  if (call === undefined) throw new Error("a transfer without its call");
  return call;
}
