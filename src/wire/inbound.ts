/** A stream's messages as batches, with backpressure: the peer stops when the caller does. */

import type { Http2Stream } from "node:http2";
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { wholeCodec } from "./codec.ts";
import { free, Packets } from "./packets.ts";
import { createMessageReader, type MessageReader } from "./reader.ts";
import { reasonDetail } from "./status.ts";

/**
 * Bytes that are taken in while the caller works on a batch. More than one chunk, so that the caller never waits for the peer, and little
 * enough for many streams at once; what the peer has sent beyond it waits in the stream's window.
 */
const READ_AHEAD_BYTES = 1024 * 1024;

/**
 * Bytes that are handed on at once, without waiting for what else the event loop's turn brings. A frame has 16 KiB, one turn may bring a
 * hundred of them, and waking the caller for each costs more than reading it.
 */
const BATCH_BYTES = 256 * 1024;
/** What a message in a batch costs beside its bytes: a peer that sends a million empty ones must not make a million objects wait. */
const MESSAGE_COST_BYTES = 128;

/**
 * Reads `stream` from the first `next()` on, not before: until then the peer can send no more than its window.
 *
 * Ends when the stream has ended; throws what the reader throws, and what `lost` gives when the stream is closed without having ended
 * (undefined: it ends). Leaving early stops reading and lets go of the stream, without closing it.
 *
 * With `lent`, a batch's bytes are the caller's only until it asks for the next batch: their memory is used again at once.
 */
export async function* readBatches<M>(
  stream: Http2Stream,
  reader: MessageReader<M>,
  lost: () => unknown,
  { lent = false } = {},
): AsyncGenerator<readonly M[], void, undefined> {
  const packets = lent ? new Packets() : undefined;
  let batch: M[] = [];
  let bytes = 0;
  let paused = false;
  let ended = false;
  let error: unknown;
  let wake: (() => void) | undefined;
  let waking: NodeJS.Immediate | undefined;

  function awake(): void {
    clearImmediate(waking);
    waking = undefined;
    wake?.();
    wake = undefined;
  }
  function end(failure?: unknown): void {
    if (ended) return;
    ended = true;
    error = failure;
    awake();
  }
  function onData(packet: Uint8Array): void {
    if (ended) return;
    packets?.add(packet);
    const before = batch.length;
    try {
      reader.push(packet, batch);
    } catch (failure) {
      end(failure);
      return;
    }
    bytes += packet.length + (batch.length - before) * MESSAGE_COST_BYTES;
    if (wake !== undefined) {
      // A message that takes many packets: the reader has copied them.
      if (batch.length === 0) free(packets?.takePassed() ?? []);
      if (bytes >= BATCH_BYTES) awake();
      else waking ??= setImmediate(awake);
    } else if (bytes >= READ_AHEAD_BYTES && !paused) {
      paused = true;
      stream.pause();
    }
  }
  function goOn(): void {
    if (!paused) return;
    paused = false;
    stream.resume();
  }
  function onEnd(): void {
    // A stream that was reset ends too, but closed.
    if (stream.aborted || stream.rstCode !== 0) return;
    try {
      reader.end();
      end();
    } catch (failure) {
      // Of a connection that is gone the close tells, right after.
      if (stream.session?.destroyed === false) end(failure);
    }
  }
  function onClose(): void {
    end(lost());
  }

  // A body without a byte, which came with its headers, ends by itself before anybody listens.
  if (stream.readableEnded) onEnd();
  if (stream.destroyed) end(lost());
  else stream.on("data", onData).on("end", onEnd).on("close", onClose);
  try {
    for (;;) {
      if (batch.length > 0) {
        const taken = batch;
        batch = [];
        bytes = 0;
        const passed = packets?.takePassed() ?? [];
        goOn();
        yield taken;
        free(passed);
      } else if (ended) {
        if (error !== undefined) throw error;
        return;
      } else {
        // Even of one large message there may be more than is read ahead.
        goOn();
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    ended = true;
    clearImmediate(waking);
    stream.pause();
    stream.off("data", onData).off("end", onEnd).off("close", onClose);
  }
}

/** Reads a stream that carries one message; throws as `readBatches` does, and when there is none or a second one. */
export async function readWhole<D extends DescMessage>(
  stream: Http2Stream,
  schema: D,
  maxMessageBytes: number,
  lost: () => unknown,
): Promise<MessageShape<D>> {
  let found: MessageShape<D> | undefined;
  for await (const batch of readBatches(stream, createMessageReader(wholeCodec(schema), { maxChunkBytes: 0, maxMessageBytes }), lost)) {
    for (const message of batch) {
      if (found !== undefined) throw wrongCount("one message was expected, and a second one came");
      found = message.value;
    }
  }
  if (found === undefined) throw wrongCount("one message was expected, and none came");
  return found;
}

function wrongCount(message: string): ConnectError {
  return new ConnectError(message, Code.InvalidArgument, undefined, [reasonDetail("MESSAGE_INVALID")]);
}
