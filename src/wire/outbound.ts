/** Writes to a stream, many buffers at once, with backpressure. */
import type { Http2Stream } from "node:http2";

export interface Outbound {
  /**
   * Writes the buffers as one. Resolves when the connection has taken all of them, and they may be written over; or when the stream is
   * closed, which takes nothing more then (whoever owns the stream knows why) but may still hold the buffers.
   */
  write(buffers: readonly Uint8Array[]): Promise<void>;
}

/** `onSent` is told bytes as the connection takes them. */
export function createOutbound(stream: Http2Stream, onSent?: (bytes: number) => void): Outbound {
  let wake: (() => void) | undefined;

  stream.once("close", () => wake?.());

  return {
    write(buffers) {
      if (stream.destroyed || stream.closed || stream.writableEnded || buffers.length === 0) return Promise.resolve();
      return new Promise((resolve) => {
        wake = resolve;
        let size = 0;
        for (const buffer of buffers) size += buffer.length;
        const last = buffers.length - 1;
        // Corked, so that the buffers reach the session in one call and the socket in one writev.
        stream.cork();
        for (let i = 0; i < last; i++) stream.write(buffers[i]);
        stream.write(buffers[last], (error) => {
          // With an error the stream is about to close.
          if (error) return;
          onSent?.(size);
          resolve();
        });
        stream.uncork();
      });
    },
  };
}
