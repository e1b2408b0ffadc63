import type { Driver, StoreErrorKind } from "../driver.ts";
import { StoreError } from "../driver.ts";

export type Operation = "putIfAbsent" | "read" | "list" | "delete";

/** A call that has ended, with all its tries. */
export interface StoreCall {
  readonly operation: Operation;
  /** What sort of object, as `kindOfKey` says. */
  readonly keyKind: string;
  /** Bytes of a body that was sent, or that were read; 0 for other operations and when a read failed. */
  readonly bytes: number;
  /** Waits for a permit and between tries included. */
  readonly durationMs: number;
  /** How it ended; `aborted` if its signal ended it. */
  readonly outcome: "ok" | "aborted" | StoreErrorKind;
}

export interface InstrumentOptions {
  /** Told of each call that ends. What it throws is the caller's to see, so it must not throw. */
  readonly observe: (call: StoreCall) => void;
  /** Names the sort of an object by its key or prefix, for metrics: one of a few words. Empty by default. */
  readonly kindOfKey?: (key: string) => string;
  /** A clock in milliseconds that never goes back. */
  readonly now?: () => number;
}

/** Tells an observer of each call. It knows no metrics library: that is the observer's. */
export function instrument(driver: Driver, options: InstrumentOptions): Driver {
  const { observe, kindOfKey = () => "", now = () => performance.now() } = options;

  async function observed<T>(
    operation: Operation,
    key: string,
    signal: AbortSignal | undefined,
    bytesOf: (result: T | undefined) => number,
    call: () => Promise<T>,
  ): Promise<T> {
    const start = now();
    const report = (outcome: StoreCall["outcome"], result?: T) =>
      observe({ operation, keyKind: kindOfKey(key), bytes: bytesOf(result), durationMs: now() - start, outcome });
    let result: T;
    try {
      result = await call();
    } catch (error) {
      report(signal?.aborted ? "aborted" : error instanceof StoreError ? error.kind : "failed");
      throw error;
    }
    report("ok", result);
    return result;
  }

  const none = () => 0;
  return {
    name: driver.name,
    readBytes: driver.readBytes,
    putIfAbsent(key, body, callOptions) {
      const size = body.reduce((sum, part) => sum + part.length, 0);
      return observed(
        "putIfAbsent",
        key,
        callOptions.signal,
        () => size,
        () => driver.putIfAbsent(key, body, callOptions),
      );
    },
    read: (key, range, callOptions) =>
      observed(
        "read",
        key,
        callOptions?.signal,
        (found) => found?.length ?? 0,
        () => driver.read(key, range, callOptions),
      ),
    list: (prefix, callOptions) => observed("list", prefix, callOptions?.signal, none, () => driver.list(prefix, callOptions)),
    delete: (key, callOptions) => observed("delete", key, callOptions?.signal, none, () => driver.delete(key, callOptions)),
    close: () => driver.close(),
  };
}
