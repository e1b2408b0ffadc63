/**
 * Messages into buffers, ready to be written together.
 *
 * A chunk becomes two buffers, its prefix and its bytes as they are. Small messages and the chunks of small files are gathered in one
 * buffer, as a buffer more costs more than its bytes.
 */
import type { Codec } from "./codec.ts";
import { MAX_CHUNK_BYTES } from "./limits.ts";
import { PREFIX_BYTES } from "./reader.ts";

/** Chunks up to this size are copied, in about as long as it takes to write one more buffer. */
const COPY_BYTES = 8 * 1024;
/** A buffer for small messages. */
const SLAB_BYTES = 64 * 1024;
/** Before the first message of a batch. */
const NO_SLAB = Buffer.alloc(0);
/** Prefix, tag and a length of up to 2^28 - 1. */
const MAX_CHUNK_HEAD_BYTES = PREFIX_BYTES + 5;

/** Gives the buffers that carry the messages, in order, with views of large chunks among them. It writes over its own when it is called again. */
export type MessageWriter<M> = (messages: readonly M[]) => Uint8Array[];

/** A writer of one stream. Chunks over `maxChunkBytes` become several messages. */
export function createMessageWriter<M extends { case?: string | undefined; value?: unknown }>(
  codec: Codec<M>,
  maxChunkBytes: number = MAX_CHUNK_BYTES,
): MessageWriter<M> {
  /** Made as they are needed: idle streams hold nothing. */
  const slabs: Buffer[] = [];
  /** Of the slabs: how many are in use, the last of which is being filled. */
  let taken = 0;
  let slab: Buffer = NO_SLAB;
  /** Bytes of the slab that are used. */
  let used = 0;
  /** Where in the slab the bytes begin that aren't among the buffers yet. */
  let from = 0;

  function flush(buffers: Uint8Array[]): void {
    if (used > from) buffers.push(slab.subarray(from, used));
    from = used;
  }

  /** Makes room for `size` bytes, at most a slab. */
  function reserve(size: number, buffers: Uint8Array[]): void {
    if (used + size <= slab.length) return;
    flush(buffers);
    slab = slabs[taken] ??= Buffer.allocUnsafeSlow(SLAB_BYTES);
    taken++;
    used = 0;
    from = 0;
  }

  function prefix(length: number): void {
    slab[used] = 0;
    slab.writeUInt32BE(length, used + 1);
    used += PREFIX_BYTES;
  }

  function chunk(bytes: Uint8Array, buffers: Uint8Array[]): void {
    const size = bytes.length;
    const copied = size <= COPY_BYTES;
    reserve(copied ? MAX_CHUNK_HEAD_BYTES + size : MAX_CHUNK_HEAD_BYTES, buffers);
    prefix(1 + varintSize(size) + size);
    slab[used++] = codec.chunkTag;
    let rest = size;
    for (; rest > 0x7f; rest >>>= 7) slab[used++] = (rest & 0x7f) | 0x80;
    slab[used++] = rest;
    if (copied) {
      slab.set(bytes, used);
      used += size;
    } else {
      flush(buffers);
      buffers.push(bytes);
    }
  }

  function other(message: M, buffers: Uint8Array[]): void {
    const bytes = codec.encode(message);
    const copied = PREFIX_BYTES + bytes.length <= SLAB_BYTES;
    reserve(copied ? PREFIX_BYTES + bytes.length : PREFIX_BYTES, buffers);
    prefix(bytes.length);
    if (copied) {
      slab.set(bytes, used);
      used += bytes.length;
    } else {
      flush(buffers);
      buffers.push(bytes);
    }
  }

  return (messages) => {
    const buffers: Uint8Array[] = [];
    slab = NO_SLAB;
    taken = 0;
    used = 0;
    from = 0;
    for (const message of messages) {
      if (message.case !== "chunk") {
        other(message, buffers);
        continue;
      }
      const bytes = message.value as Uint8Array;
      for (let at = 0; at === 0 || at < bytes.length; at += maxChunkBytes) {
        chunk(bytes.length <= maxChunkBytes ? bytes : bytes.subarray(at, at + maxChunkBytes), buffers);
      }
    }
    flush(buffers);
    return buffers;
  };
}

function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest > 0x7f; rest >>>= 7) size++;
  return size;
}
