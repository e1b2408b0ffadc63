import { untilAborted } from "./abort.ts";

/** Hands out a number of permits, first come, first served. */
export class Semaphore {
  #free: number;
  /** In order of arrival; a Set, so that one who gives up leaves at once, wherever it stands. */
  readonly #waiting = new Set<() => void>();

  /** `permits`: how many may be held at a time, at least 1. */
  constructor(permits: number) {
    if (!Number.isInteger(permits) || permits < 1) throw new RangeError(`not a number of permits: ${permits}`);
    this.#free = permits;
  }

  /** How many wait for a permit. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Runs `work` while holding a permit. Rejects with the signal's reason if it is aborted before there is one. */
  async run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    await this.#acquire(signal);
    try {
      return await work();
    } finally {
      this.#release();
    }
  }

  async #acquire(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    if (this.#free > 0) {
      this.#free--;
      return;
    }
    let grant = () => {};
    const granted = new Promise<void>((resolve) => {
      grant = resolve;
    });
    this.#waiting.add(grant);
    try {
      await untilAborted(granted, signal);
    } catch (error) {
      // If the permit came in the same turn as the abort, it is passed on, not lost.
      if (!this.#waiting.delete(grant)) this.#release();
      throw error;
    }
  }

  #release(): void {
    for (const next of this.#waiting) {
      this.#waiting.delete(next);
      next();
      return;
    }
    this.#free++;
  }
}
