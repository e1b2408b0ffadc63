/** How the client moves bytes: the two streams of the protocol, whatever carries them. */
import type { DownloadRequest, UploadResponse } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import type { DownloadMessage, UploadMessage } from "../wire/messages.ts";
import type { CallOptions } from "./caller.ts";

export interface TransferOptions extends CallOptions {
  /** Told bytes of the stream as the connection takes them (uploads only): chunk bytes and a little framing. */
  readonly onSent?: ((bytes: number) => void) | undefined;
}

/**
 * Uploads and downloads to one server. Failures are `ConnectError`s: what the server answered with its details, of which
 * `failureOf` in `src/wire/status.ts` makes the reason; a lost, refused or silent connection has the code Unavailable and no details. No
 * retries here.
 */
export interface Transfers {
  /**
   * Sends the messages and gives the answer. When the server answers early (an error, as a rule), `messages` is left by `return()`
   * without being read to its end. An error thrown by `messages` cancels the stream and is thrown on.
   */
  upload(messages: AsyncIterable<readonly UploadMessage[]>, options?: TransferOptions): Promise<UploadResponse>;
  /** Leaving the iteration early cancels the stream. Ends only when the server said that all is well. */
  download(request: DownloadRequest, options?: TransferOptions): AsyncIterable<readonly DownloadMessage[]>;
  /** Ends the connection; calls that run are cancelled. */
  close(): Promise<void>;
}
