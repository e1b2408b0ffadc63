/**
 * The memory of the packets of one stream, given back as soon as they are read.
 *
 * Node makes a buffer for every read of a socket, of up to 64 KiB, and hands out what frames carry as views of it. Those that are merely
 * dropped come back late: the collector doesn't run for them until 64 MB of them are dead, and then looks through the whole heap.
 *
 * A buffer is given back only when that can't be felt by anybody else. Each of its bytes was in a packet of this stream, but for the headers
 * of frames: so no other stream has a view of it. And a packet of a later buffer has come: until then the connection may go on reading it.
 */

/** RFC 9113, section 4.1. */
const FRAME_HEADER_BYTES = 9;

export class Packets {
  /** The buffer that the last packet is a view of. */
  #buffer: ArrayBufferLike | undefined;
  /** In it: behind that packet. */
  #end = 0;
  /** Whether what lies before it are packets of this stream and headers of frames. */
  #isOurs = false;
  #passed: ArrayBuffer[] = [];

  /** Takes notice of a packet, each in its turn. */
  add({ buffer, byteOffset, length }: Uint8Array): void {
    if (buffer !== this.#buffer) {
      const last = this.#buffer;
      if (last instanceof ArrayBuffer && this.#isOurs && last.byteLength - this.#end <= FRAME_HEADER_BYTES) this.#passed.push(last);
      this.#buffer = buffer;
      this.#end = 0;
      this.#isOurs = true;
    }
    this.#isOurs &&= byteOffset - this.#end <= FRAME_HEADER_BYTES;
    this.#end = byteOffset + length;
  }

  /** The buffers that can be given back, once nobody looks at the packets that have come so far; each is told once. */
  takePassed(): readonly ArrayBuffer[] {
    const passed = this.#passed;
    this.#passed = [];
    return passed;
  }
}

/** Gives the memory back. Views of it have no bytes from now on. */
export function free(buffers: readonly ArrayBuffer[]): void {
  for (const buffer of buffers) buffer.transfer(0);
}
