/** Writes to a stream, many buffers at once, with backpressure by bytes. */
import type { Http2Stream } from "node:http2";

/**
 * Bytes that may wait for the socket before the writer is told to wait. A single download writes more at once than that; of many, each
 * writes this much, and so much is lost to each reader that stalls.
 */
const MAX_WAITING_BYTES = 1024 * 1024;

export interface Outbound {
  /**
   * Writes the buffers as one. `undefined` means that more is welcome; a promise resolves when it is again, or when the stream is closed
   * (and then takes nothing more; whoever owns the stream knows why). The buffers belong to the stream from now on.
   */
  write(buffers: readonly Uint8Array[]): Promise<void> | undefined;
}

/** `onSent` is told bytes as the connection takes them. */
export function createOutbound(stream: Http2Stream, onSent?: (bytes: number) => void): Outbound {
  let waiting = 0;
  let wake: (() => void) | undefined;

  function awake(): void {
    wake?.();
    wake = undefined;
  }
  stream.once("close", awake);

  return {
    write(buffers) {
      if (stream.destroyed || stream.closed || stream.writableEnded || buffers.length === 0) return undefined;
      let size = 0;
      for (const buffer of buffers) size += buffer.length;
      waiting += size;
      const last = buffers.length - 1;
      // Corked, so that the buffers reach the session in one call and the socket in one writev.
      stream.cork();
      for (let i = 0; i < last; i++) stream.write(buffers[i]);
      stream.write(buffers[last], () => {
        waiting -= size;
        onSent?.(size);
        if (waiting <= MAX_WAITING_BYTES / 2) awake();
      });
      stream.uncork();
      if (waiting < MAX_WAITING_BYTES) return undefined;
      return new Promise((resolve) => {
        wake = resolve;
      });
    },
  };
}
