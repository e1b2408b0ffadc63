import { untilAborted } from "../../lib/abort.ts";
import type { Driver } from "../driver.ts";
import { StoreError } from "../driver.ts";

export interface TimeoutOptions {
  /** What a call may take without the bytes that it moves, in milliseconds; 15,000 by default. */
  readonly baseMs?: number;
  /** What each MiB adds, in milliseconds; 5,000 by default. */
  readonly perMibMs?: number;
  /** The bytes that a whole read is reckoned with, since its size isn't known before; 17 MiB by default, a large data object. */
  readonly wholeReadBytes?: number;
  /** Calls back once after so many milliseconds; what it returns takes that back. Node's timers by default. */
  readonly startTimer?: (callback: () => void, ms: number) => () => void;
}

/** Longer than a store under load keeps a healthy call waiting, and short enough to try again before a client gives up. */
const BASE_MS = 15_000;
/** 0.2 MiB/s for one call, so that four data objects at once get through a home's uplink of 1 MiB/s. */
const PER_MIB_MS = 5000;
const MIB = 1024 * 1024;
const WHOLE_READ_BYTES = 17 * MIB;

/**
 * Ends calls that hang: they reject as `temporary`, whatever the driver does, and the driver's call is ended by its signal. It may
 * still have its effect later, as any call whose answer is lost.
 */
export function timeout(driver: Driver, options: TimeoutOptions = {}): Driver {
  const { baseMs = BASE_MS, perMibMs = PER_MIB_MS, wholeReadBytes = WHOLE_READ_BYTES, startTimer = startNodeTimer } = options;

  async function within<T>(
    what: string,
    bytes: number,
    outer: AbortSignal | undefined,
    call: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    outer?.throwIfAborted();
    const ms = baseMs + (perMibMs * bytes) / MIB;
    const controller = new AbortController();
    // Not AbortSignal.any: it keeps what it made for as long as the outer signal lives, which may be a whole upload.
    const onOuterAbort = () => controller.abort(outer?.reason);
    outer?.addEventListener("abort", onOuterAbort, { once: true });
    const stopTimer = startTimer(() => {
      controller.abort(new StoreError("temporary", `${driver.name}: ${what} got no answer within ${(ms / 1000).toFixed(1)} s`));
    }, ms);
    try {
      return await untilAborted(call(controller.signal), controller.signal);
    } finally {
      stopTimer();
      outer?.removeEventListener("abort", onOuterAbort);
    }
  }

  return {
    name: driver.name,
    readBytes: driver.readBytes,
    putIfAbsent(key, body, putOptions) {
      const size = body.reduce((sum, part) => sum + part.length, 0);
      const what = `writing ${key} (${size} bytes)`;
      return within(what, size, putOptions.signal, (signal) => driver.putIfAbsent(key, body, { ...putOptions, signal }));
    },
    read(key, range, callOptions) {
      const what = range === undefined ? `reading ${key}` : `reading ${range.length} bytes of ${key}`;
      const bytes = range?.length ?? wholeReadBytes;
      return within(what, bytes, callOptions?.signal, (signal) => driver.read(key, range, { ...callOptions, signal }));
    },
    list: (prefix, listOptions) =>
      within(`listing ${prefix}`, 0, listOptions?.signal, (signal) => driver.list(prefix, { ...listOptions, signal })),
    delete: (key, callOptions) =>
      within(`deleting ${key}`, 0, callOptions?.signal, (signal) => driver.delete(key, { ...callOptions, signal })),
    close: () => driver.close(),
  };
}

function startNodeTimer(callback: () => void, ms: number): () => void {
  const timer = setTimeout(callback, ms);
  return () => clearTimeout(timer);
}
