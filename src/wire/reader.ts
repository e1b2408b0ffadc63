/**
 * Messages out of packets, as they arrive.
 *
 * The bytes of a chunk are handed on as views of the packets that brought them: never joined, never copied. Every other message is small;
 * it is collected up to a limit and decoded by protobuf-es. So is a chunk in an unusual form (with unknown fields around it, with a
 * second chunk, with overlong varints), which no generated client sends but protobuf allows.
 */
import { Code, ConnectError } from "@connectrpc/connect";
import type { Codec } from "./codec.ts";
import { reasonDetail } from "./status.ts";

/** gRPC: one byte of flags and four of length, the highest first. */
export const PREFIX_BYTES = 5;
const COMPRESSED_FLAG = 1;
/** A chunk's tag, and a length of up to 2^28 - 1 in its shortest form. */
const MAX_CHUNK_HEAD_BYTES = 5;
const NO_BYTES: Uint8Array = new Uint8Array(0);
/** Instead of the size of a chunk's head: the message is something else, or the bytes don't suffice to tell. */
const NO_CHUNK = 0;
const NEED_MORE = -1;
/** The first buffer for a message that is collected; it doubles. A length that is only promised costs no memory. */
const FIRST_COLLECT_BYTES = 4 * 1024;

export interface ReaderLimits {
  /** The most bytes of a chunk. */
  readonly maxChunkBytes: number;
  /** The most bytes of any other message. */
  readonly maxMessageBytes: number;
}

/** Takes a stream's bytes, gives its messages. After it has thrown, it is of no more use. */
export interface MessageReader<M> {
  /**
   * Appends the messages that `packet` brings to `batch`, chunks as views of `packet`.
   *
   * @throws ConnectError when the bytes aren't messages of this stream.
   */
  push(packet: Uint8Array, batch: M[]): void;
  /**
   * Says that no more bytes come.
   *
   * @throws ConnectError in the middle of a message.
   */
  end(): void;
}

/** What the next byte belongs to. */
const PREFIX = 0;
const HEAD = 1;
const CHUNK = 2;
const COLLECT = 3;

/** A reader of one stream; see the top of this file. */
export function createMessageReader<M extends { readonly case?: string | undefined; readonly value?: unknown }>(
  codec: Codec<M>,
  limits: ReaderLimits,
): MessageReader<M> {
  const { chunkTag } = codec;
  const { maxChunkBytes, maxMessageBytes } = limits;
  const maxLength = Math.max(maxMessageBytes, maxChunkBytes + MAX_CHUNK_HEAD_BYTES);
  let packet: Uint8Array = NO_BYTES;
  /** In `packet`: of the next byte. */
  let at = 0;
  let state = PREFIX;
  /** A prefix or a head that packets cut in two, until it is whole. */
  const cut = new Uint8Array(Math.max(PREFIX_BYTES, MAX_CHUNK_HEAD_BYTES));
  let cutLength = 0;
  /** Of the message, without the prefix. */
  let length = 0;
  /** Of the chunk: bytes that are still to come. */
  let left = 0;
  let collected: Uint8Array = NO_BYTES;
  let collectedLength = 0;

  /** Reads a prefix. Whether there were enough bytes. */
  function prefix(): boolean {
    if (cutLength === 0 && packet.length - at >= PREFIX_BYTES) {
      startMessage(packet, at);
      at += PREFIX_BYTES;
      return true;
    }
    while (cutLength < PREFIX_BYTES) {
      if (at === packet.length) return false;
      cut[cutLength++] = packet[at++] as number;
    }
    cutLength = 0;
    startMessage(cut, 0);
    return true;
  }

  function startMessage(bytes: Uint8Array, from: number): void {
    const flags = bytes[from] as number;
    if (flags !== 0) throw flagsError(flags);
    length =
      (((bytes[from + 1] as number) << 24) |
        ((bytes[from + 2] as number) << 16) |
        ((bytes[from + 3] as number) << 8) |
        (bytes[from + 4] as number)) >>>
      0;
    if (length > maxLength) throw tooLarge(length, maxLength);
    state = HEAD;
  }

  /** Finds out whether the message is one plain chunk. Whether there were enough bytes. */
  function head(): boolean {
    let size = cutLength > 0 ? NEED_MORE : chunkHeadSize(packet, at);
    if (size > 0) at += size;
    while (size === NEED_MORE) {
      if (at === packet.length) return false;
      cut[cutLength++] = packet[at++] as number;
      size = chunkHeadSize(cut.subarray(0, cutLength), 0);
    }
    if (size > 0) {
      cutLength = 0;
      if (left > maxChunkBytes) throw tooLarge(left, maxChunkBytes);
      state = CHUNK;
      return true;
    }
    if (length > maxMessageBytes) throw tooLarge(length, maxMessageBytes);
    collected = cutLength === 0 ? NO_BYTES : cut.slice(0, cutLength);
    collectedLength = cutLength;
    cutLength = 0;
    state = COLLECT;
    return true;
  }

  /** How many bytes before the chunk's own there are in a message that begins in `bytes` at `from`; then `left` says how many follow. */
  function chunkHeadSize(bytes: Uint8Array, from: number): number {
    if (length === 0) return NO_CHUNK;
    if (from === bytes.length) return NEED_MORE;
    if (bytes[from] !== chunkTag) return NO_CHUNK;
    let value = 0;
    for (let i = 1; i < MAX_CHUNK_HEAD_BYTES; i++) {
      if (i === length) return NO_CHUNK;
      if (from + i >= bytes.length) return NEED_MORE;
      const byte = bytes[from + i] as number;
      value |= (byte & 0x7f) << (7 * (i - 1));
      if (byte < 0x80) {
        left = value;
        return i + 1 + value === length ? i + 1 : NO_CHUNK;
      }
    }
    return NO_CHUNK;
  }

  /** Hands on what there is of the chunk. Whether it is whole. */
  function chunk(batch: M[]): boolean {
    const take = Math.min(left, packet.length - at);
    if (take === 0 && left > 0) return false;
    batch.push({ case: "chunk", value: take === packet.length ? packet : packet.subarray(at, at + take) } as unknown as M);
    at += take;
    left -= take;
    if (left > 0) return false;
    state = PREFIX;
    return true;
  }

  /** Collects a message. Whether it is whole. */
  function collect(batch: M[]): boolean {
    const take = Math.min(length - collectedLength, packet.length - at);
    const bytes = packet.subarray(at, at + take);
    at += take;
    if (take === length) {
      batch.push(decode(bytes));
    } else {
      const needed = collectedLength + take;
      if (needed > collected.length)
        collected = grown(collected, Math.min(length, Math.max(needed, collected.length * 2, FIRST_COLLECT_BYTES)));
      collected.set(bytes, collectedLength);
      collectedLength = needed;
      if (needed < length) return false;
      batch.push(decode(collected));
      collected = NO_BYTES;
    }
    state = PREFIX;
    return true;
  }

  function decode(bytes: Uint8Array): M {
    let message: M;
    try {
      message = codec.decode(bytes);
    } catch (error) {
      throw invalid(`a message can't be decoded: ${error instanceof Error ? error.message : error}`);
    }
    if (message.case === "chunk" && (message.value as Uint8Array).length > maxChunkBytes)
      throw tooLarge((message.value as Uint8Array).length, maxChunkBytes);
    return message;
  }

  return {
    push(bytes, batch) {
      packet = bytes;
      at = 0;
      let more = true;
      while (more) {
        if (state === PREFIX) more = prefix();
        else if (state === HEAD) more = head();
        else if (state === CHUNK) more = chunk(batch);
        else more = collect(batch);
      }
      packet = NO_BYTES;
    },
    end() {
      if (state !== PREFIX || cutLength > 0) throw invalid("the stream ended in the middle of a message");
    },
  };
}

/** A copy of `bytes` with room for `size`. */
function grown(bytes: Uint8Array, size: number): Uint8Array {
  const larger = new Uint8Array(size);
  larger.set(bytes);
  return larger;
}

function flagsError(flags: number): ConnectError {
  // As gRPC has it: a compressed message in a stream that named no compression is the peer's fault in the protocol.
  if (flags === COMPRESSED_FLAG) return new ConnectError("received a compressed message in a stream without compression", Code.Internal);
  return new ConnectError(`received a message with unknown flags ${flags}`, Code.Internal);
}

function tooLarge(size: number, limit: number): ConnectError {
  return invalid(`a message of ${size} bytes is larger than the limit of ${limit}`);
}

function invalid(message: string): ConnectError {
  return new ConnectError(message, Code.InvalidArgument, undefined, [reasonDetail("MESSAGE_INVALID")]);
}
