/**
 * Buffers of one size that are used again and again.
 *
 * Those that are merely dropped come back late: the collector looks for them by passes over the whole heap, one for every 64 MB that
 * were allocated, and the system clears each page before it is used again. That was a third of the CPU time of moving a large file.
 */
export class BufferPool {
  readonly bufferBytes: number;
  readonly #maxFree: number;
  #free: Uint8Array<ArrayBuffer>[] = [];

  /** Keeps up to `maxFree` buffers for whoever takes one next. */
  constructor(bufferBytes: number, maxFree: number) {
    this.bufferBytes = bufferBytes;
    this.#maxFree = maxFree;
  }

  /** What it holds is of no account. One that isn't given back is the collector's. */
  take(): Uint8Array<ArrayBuffer> {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(this.bufferBytes);
  }

  /** The buffer will be written over: nobody may look at it any more. */
  give(buffer: Uint8Array<ArrayBuffer>): void {
    if (this.#free.length < this.#maxFree) this.#free.push(buffer);
  }

  /** Lets go of what it keeps. */
  clear(): void {
    this.#free = [];
  }
}
