import type { Driver } from "../driver.ts";
import type { InstrumentOptions } from "./instrument.ts";
import { instrument } from "./instrument.ts";
import type { LimitOptions } from "./limit.ts";
import { limit } from "./limit.ts";
import type { RetryOptions } from "./retry.ts";
import { retry } from "./retry.ts";
import type { TimeoutOptions } from "./timeout.ts";
import { timeout } from "./timeout.ts";

export interface LayerOptions {
  readonly retry?: RetryOptions;
  readonly limit?: LimitOptions;
  readonly timeout?: TimeoutOptions;
  /** Without it nobody is told of calls. */
  readonly instrument?: InstrumentOptions;
}

/**
 * Wraps a driver in all that stores have in common.
 *
 * The order matters. A wait for a permit isn't the store's time, so the time limit lies inside; a call that waits to be tried again
 * holds no permit, so retrying lies outside of that; and an observer sees what the caller sees.
 */
export function composeLayers(driver: Driver, options: LayerOptions = {}): Driver {
  const layered = retry(limit(timeout(driver, options.timeout), options.limit), options.retry);
  return options.instrument === undefined ? layered : instrument(layered, options.instrument);
}
