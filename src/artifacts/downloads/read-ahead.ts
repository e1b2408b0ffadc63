import { BufferPool } from "../../lib/buffer-pool.ts";

/** Bytes in one request: enough that its latency is small beside its transfer. */
export const FETCH_BYTES = 4 * 1024 * 1024;
/** Smaller ones get memory of their own. */
const POOLED_BYTES = FETCH_BYTES / 4;
/** Buffers of FETCH_BYTES that wait for the next request. */
const FREE_BUFFERS = 8;

/** Memory that all downloads share for what they read before it is asked for. */
export class ReadAhead {
  readonly #limit: number;
  readonly #pool = new BufferPool(FETCH_BYTES, FREE_BUFFERS);
  #used = 0;

  constructor(limitBytes: number) {
    this.#limit = limitBytes;
  }

  hasRoom(bytes: number): boolean {
    return this.#used + bytes <= this.#limit;
  }

  /** Memory for one request of so many bytes. It is counted from now on, to be released. */
  take(bytes: number): RequestMemory {
    this.#used += bytes;
    let buffer: Uint8Array | undefined;
    return {
      allocate: (length) => {
        if (length < POOLED_BYTES || length > FETCH_BYTES) return Buffer.allocUnsafeSlow(length);
        // Each try has its own, since the one before may still write to what it got.
        buffer = this.#pool.take();
        return buffer;
      },
      release: (isFree) => {
        this.#used -= bytes;
        if (isFree && buffer) this.#pool.give(buffer);
        if (this.#used === 0) this.#pool.clear();
      },
    };
  }
}

export interface RequestMemory {
  /** As a store's driver asks for it. */
  allocate(bytes: number): Uint8Array;
  /** Once. `isFree`: nobody looks at the bytes any more, or writes to them. */
  release(isFree: boolean): void;
}
