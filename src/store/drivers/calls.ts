import { untilAborted } from "../../lib/abort.ts";
import { StoreError } from "../driver.ts";

/** The calls of one open driver: refuses them once it is closed, ends them early, and waits for them when it closes. */
export class Calls {
  readonly #store: string;
  readonly #pending = new Set<Promise<unknown>>();
  #closed = false;

  /** `store`: the driver's name, for errors. */
  constructor(store: string) {
    this.#store = store;
  }

  /**
   * Runs a call. It rejects with the signal's reason as soon as that is aborted, though `work` may need longer to notice:
   * a system call on a file isn't interrupted.
   */
  async run<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    if (this.#closed) throw new StoreError("failed", `${this.#store} is closed`);
    signal?.throwIfAborted();
    const promise = work();
    this.#pending.add(promise);
    const forget = () => this.#pending.delete(promise);
    promise.then(forget, forget);
    return untilAborted(promise, signal);
  }

  /** Resolves when nothing runs any more. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#pending);
  }
}
