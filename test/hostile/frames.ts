/** HTTP/2 by hand: frames of which each byte is the test's (RFC 9113), headers as literals (RFC 7541, section 6.2.2). */
import { once } from "node:events";
import { connect, type Socket } from "node:net";

export const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
export const TYPE = { data: 0, headers: 1, priority: 2, reset: 3, settings: 4, push: 5, ping: 6, goaway: 7, window: 8, continuation: 9 };
export const FLAG = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 0x20 };
const HEAD_BYTES = 9;

export function frame(
  type: number,
  flags: number,
  streamId: number,
  payload: Uint8Array = Buffer.alloc(0),
  length = payload.length,
): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUIntBE(length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(streamId >>> 0, 5);
  return Buffer.concat([head, payload]);
}

export const settings = (payload: Uint8Array = Buffer.alloc(0)) => frame(TYPE.settings, 0, 0, payload);

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

/** A header block; names and values as they are, however wrong. */
export function block(headers: readonly (readonly [name: string, value: string])[]): Buffer {
  return Buffer.concat(headers.flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]));
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, "latin1");
  return Buffer.concat([integer(bytes.length), bytes]);
}

/** An integer with a prefix of 7 bits (RFC 7541, section 5.1). */
function integer(value: number): Buffer {
  if (value < 127) return Buffer.from([value]);
  const bytes = [127];
  let rest = value - 127;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  bytes.push(rest);
  return Buffer.from(bytes);
}

export function requestHeaders(path: string, more: readonly (readonly [string, string])[] = []): (readonly [string, string])[] {
  return [
    [":method", "POST"],
    [":scheme", "http"],
    [":path", path],
    [":authority", "localhost"],
    ["content-type", "application/grpc"],
    ["te", "trailers"],
    ...more,
  ];
}

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

export interface Peer {
  readonly socket: Socket;
  readonly frames: Frame[];
  readonly closed: Promise<unknown>;
  send(...frames: Uint8Array[]): void;
}

/** A connection that has said its preface, unless told otherwise, and keeps the frames that come. */
export async function openPeer(url: string, hello: Uint8Array = Buffer.concat([PREFACE, settings()])): Promise<Peer> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.on("error", () => {});
  await once(socket, "connect");
  const frames: Frame[] = [];
  let rest = Buffer.alloc(0);
  socket.on("data", (part: Buffer) => {
    rest = Buffer.concat([rest, part]);
    while (rest.length >= HEAD_BYTES) {
      const end = HEAD_BYTES + rest.readUIntBE(0, 3);
      if (rest.length < end) return;
      frames.push({
        type: rest.readUInt8(3),
        flags: rest.readUInt8(4),
        streamId: rest.readUInt32BE(5),
        payload: Buffer.from(rest.subarray(HEAD_BYTES, end)),
      });
      rest = rest.subarray(end);
    }
  });
  const peer: Peer = {
    socket,
    frames,
    closed: new Promise((resolve) => socket.once("close", resolve)),
    send(...all) {
      if (!socket.destroyed) socket.write(Buffer.concat(all));
    },
  };
  if (hello.length > 0) peer.send(hello);
  return peer;
}

/** Sends as fast as the peer takes it, until there is no more or the connection ends. */
export async function pour(peer: Peer, make: (i: number) => Uint8Array | undefined): Promise<number> {
  const { socket } = peer;
  for (let i = 0; ; i++) {
    const bytes = make(i);
    if (bytes === undefined || socket.destroyed || socket.writableEnded) return i;
    if (!socket.write(bytes)) await Promise.race([new Promise((resolve) => socket.once("drain", resolve)), peer.closed]);
    else if (i % 64 === 0) await new Promise(setImmediate);
  }
}
