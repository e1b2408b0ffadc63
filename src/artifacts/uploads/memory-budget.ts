/** Bytes of all uploads together that wait in memory for the store, and the buffers that they wait in. */
import { BufferPool } from "../../lib/buffer-pool.ts";

/** Large enough that a store gets few of them for an object, and little beside an object. */
const BUFFER_BYTES = 256 * 1024;
/** 48 MiB: three data objects, about what one fast upload has under way. */
const FREE_BUFFERS = 192;

/** Something that holds bytes and can hand them to the store early. */
export interface Holder {
  /** Bytes that it could hand on now. */
  readonly openBytes: number;
  handOn(): void;
}

export class MemoryBudget {
  readonly buffers = new BufferPool(BUFFER_BYTES, FREE_BUFFERS);
  readonly #limit: number;
  readonly #holders = new Set<Holder>();
  #used = 0;
  #waiting: (() => void)[] = [];

  constructor(limitBytes: number) {
    this.#limit = limitBytes;
  }

  join(holder: Holder): void {
    this.#holders.add(holder);
  }

  leave(holder: Holder): void {
    this.#holders.delete(holder);
  }

  /** Counts bytes that are held already. The promise, if there is one, resolves when more may come. */
  take(bytes: number): Promise<void> | undefined {
    this.#used += bytes;
    if (this.#used <= this.#limit) return undefined;
    this.#relieve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  release(bytes: number): void {
    this.#used -= bytes;
    if (this.#used === 0) this.buffers.clear();
    if (this.#used > this.#limit) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
  }

  // Many slow uploads could hold the whole budget in objects that none of them fills: the fullest goes out short.
  #relieve(): void {
    let fullest: Holder | undefined;
    for (const holder of this.#holders) {
      if (holder.openBytes > (fullest?.openBytes ?? 0)) fullest = holder;
    }
    fullest?.handOn();
  }
}
