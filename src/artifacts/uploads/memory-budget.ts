/** Bytes of all uploads together that wait in memory for the store. */

/** Something that holds bytes and can hand them to the store early. */
export interface Holder {
  /** Bytes that it could hand on now. */
  readonly openBytes: number;
  handOn(): void;
}

export class MemoryBudget {
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
