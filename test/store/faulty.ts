import type { Driver } from "../../src/store/driver.ts";

/** What happens to one call of a driver that is otherwise real. */
export interface Fault {
  readonly operation: "putIfAbsent" | "read" | "list" | "delete";
  /**
   * - `refused`: the store doesn't get the call.
   * - `answerLost`: the store does what it was asked, and the caller gets the error.
   * - `hangs`: neither an effect nor an answer.
   */
  readonly how: "refused" | "answerLost" | "hangs";
  readonly error?: Error;
}

/** A store behind a bad line: the faults strike the next calls of their operation, in order, each once. */
export function faulty(driver: Driver): {
  driver: Driver;
  strike(...faults: Fault[]): void;
  pending(): number;
  signals: (AbortSignal | undefined)[];
} {
  const faults: Fault[] = [];
  const signals: (AbortSignal | undefined)[] = [];

  async function call<T>(operation: Fault["operation"], signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    signals.push(signal);
    const index = faults.findIndex((fault) => fault.operation === operation);
    const fault = index === -1 ? undefined : faults.splice(index, 1)[0];
    if (fault?.how === "hangs") return new Promise(() => {});
    if (fault?.how === "refused") throw fault.error;
    const result = await work();
    if (fault?.how === "answerLost") throw fault.error;
    return result;
  }

  return {
    strike: (...more) => void faults.push(...more),
    pending: () => faults.length,
    signals,
    driver: {
      name: driver.name,
      readBytes: driver.readBytes,
      putIfAbsent: (key, body, options) => call("putIfAbsent", options.signal, () => driver.putIfAbsent(key, body, options)),
      read: (key, range, options) => call("read", options?.signal, () => driver.read(key, range, options)),
      list: (prefix, options) => call("list", options?.signal, () => driver.list(prefix, options)),
      delete: (key, options) => call("delete", options?.signal, () => driver.delete(key, options)),
      close: () => driver.close(),
    },
  };
}
