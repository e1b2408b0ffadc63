import { Semaphore } from "../../lib/semaphore.ts";
import type { Driver } from "../driver.ts";

export interface LimitOptions {
  /** Calls under way at a time; the others wait in the order in which they came. 64 by default. */
  readonly maxConcurrent?: number;
}

/** Enough to hide the latency of a distant store from many uploads at once, and few enough for the sockets of one process. */
const MAX_CONCURRENT = 64;

/** Bounds how many calls a store serves us at a time. A call that waits can be ended early. */
export function limit(driver: Driver, { maxConcurrent = MAX_CONCURRENT }: LimitOptions = {}): Driver {
  const permits = new Semaphore(maxConcurrent);
  return {
    name: driver.name,
    readBytes: driver.readBytes,
    putIfAbsent: (key, body, options) => permits.run(() => driver.putIfAbsent(key, body, options), options.signal),
    read: (key, range, options) => permits.run(() => driver.read(key, range, options), options?.signal),
    list: (prefix, options) => permits.run(() => driver.list(prefix, options), options?.signal),
    delete: (key, options) => permits.run(() => driver.delete(key, options), options?.signal),
    close: () => driver.close(),
  };
}
