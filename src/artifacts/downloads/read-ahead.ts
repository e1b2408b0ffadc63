import { BufferPool } from "../../lib/buffer-pool.ts";

/** Bytes of buffers that wait for the next request. */
const FREE_BYTES = 32 * 1024 * 1024;
/** Requests for less than this part of a buffer get memory of their own. */
const POOLED_PART = 1 / 4;

/** Memory that all downloads share for what they read before it is asked for. */
export class ReadAhead {
  readonly #limit: number;
  readonly #pool: BufferPool;
  #used = 0;

  /** `requestBytes`: the most that one request asks for. */
  constructor(limitBytes: number, requestBytes: number) {
    this.#limit = limitBytes;
    this.#pool = new BufferPool(requestBytes, Math.ceil(FREE_BYTES / requestBytes));
  }

  /** Whether another request of the largest size has room. */
  get hasRoom(): boolean {
    return this.#used + this.#pool.bufferBytes <= this.#limit;
  }

  /** Memory for one request of so many bytes. It is counted from now on, to be released. */
  take(bytes: number): RequestMemory {
    const { bufferBytes } = this.#pool;
    this.#used += bytes;
    let buffer: Uint8Array<ArrayBuffer> | undefined;
    return {
      allocate: (length) => {
        if (length < bufferBytes * POOLED_PART || length > bufferBytes) return Buffer.allocUnsafeSlow(length);
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
