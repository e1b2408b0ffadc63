import assert from "node:assert/strict";
import fc from "fast-check";
import { free, Packets } from "../../src/wire/packets.ts";

const FRAME_HEADER_BYTES = 9;
const OURS = 0;

interface Frame {
  readonly stream: number;
  readonly length: number;
}

/** What one read of the socket brought: its buffer, and the packets in it, each with its stream. */
interface Read {
  readonly buffer: ArrayBuffer;
  readonly packets: { readonly stream: number; readonly bytes: Uint8Array }[];
}

/** Frames one behind the other, cut into reads of these lengths, the last of them again and again. */
function cut(frames: readonly Frame[], lengths: readonly number[]): Read[] {
  const bytes = frames.flatMap(({ stream, length }) => [
    ...Array<number | undefined>(FRAME_HEADER_BYTES).fill(undefined),
    ...Array<number | undefined>(length).fill(stream),
  ]);
  const reads: Read[] = [];
  for (let at = 0; at < bytes.length; ) {
    const part = bytes.slice(at, at + (lengths[reads.length] ?? lengths.at(-1) ?? 1));
    at += part.length;
    const read: Read = { buffer: new ArrayBuffer(part.length), packets: [] };
    for (let i = 0; i < part.length; ) {
      let end = i;
      while (end < part.length && part[end] === part[i]) end++;
      const stream = part[i];
      if (stream !== undefined) read.packets.push({ stream, bytes: new Uint8Array(read.buffer, i, end - i) });
      i = end;
    }
    reads.push(read);
  }
  return reads;
}

function passed(reads: readonly Read[]): ArrayBuffer[] {
  const packets = new Packets();
  for (const read of reads) for (const { stream, bytes } of read.packets) if (stream === OURS) packets.add(bytes);
  return [...packets.takePassed()];
}

function sizes(buffers: readonly ArrayBuffer[]): number[] {
  return buffers.map(({ byteLength }) => byteLength);
}

const lengths = fc.array(fc.integer({ min: 1, max: 80 }), { minLength: 1, maxLength: 20 });
const frame = (streams: number, minLength: number): fc.Arbitrary<Frame> =>
  fc.record({ stream: fc.integer({ min: 0, max: streams - 1 }), length: fc.integer({ min: minLength, max: 60 }) });

describe("the memory of packets", () => {
  it("never gives back a buffer that another stream has bytes in, nor the last", () => {
    fc.assert(
      fc.property(fc.array(frame(3, 0), { maxLength: 20 }), lengths, (frames, at) => {
        const reads = cut(frames, at);
        const last = reads.findLast((read) => read.packets.some(({ stream }) => stream === OURS));
        for (const buffer of passed(reads)) {
          const read = reads.find((one) => one.buffer === buffer);
          assert(read?.packets.every(({ stream }) => stream === OURS));
          assert(read !== last);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("gives back all others of a stream that has the connection to itself", () => {
    fc.assert(
      fc.property(fc.array(frame(1, 1), { maxLength: 20 }), lengths, (frames, at) => {
        const reads = cut(frames, at).filter(({ packets }) => packets.length > 0);
        assert.deepEqual(
          passed(reads),
          reads.slice(0, -1).map(({ buffer }) => buffer),
        );
      }),
    );
  });

  it("gives back no buffer of which a packet didn't come", () => {
    const shared = new ArrayBuffer(64);
    const packets = new Packets();
    packets.add(new Uint8Array(shared, 20, 44));
    packets.add(new Uint8Array(8));
    packets.add(new Uint8Array(shared, 0, 20));
    packets.add(new Uint8Array(8));
    assert.deepEqual(sizes(packets.takePassed()), [8]);
  });

  it("tells each buffer once", () => {
    const packets = new Packets();
    packets.add(new Uint8Array(1));
    packets.add(new Uint8Array(2));
    assert.deepEqual(sizes(packets.takePassed()), [1]);
    assert.deepEqual(packets.takePassed(), []);
  });

  it("leaves views without bytes when it is freed", () => {
    const bytes = new Uint8Array(100);
    free([bytes.buffer]);
    assert.equal(bytes.length, 0);
  });
});
