/** The one retry policy of all stores. The SDKs' own retries are off, so that no call is tried more often than this says. */
import { setTimeout as wait } from "node:timers/promises";
import { crc32c, crc32cOfParts } from "../../lib/crc32c.ts";
import type { ByteParts, Driver, PutOptions } from "../driver.ts";
import { StoreError } from "../driver.ts";

export interface RetryOptions {
  /** No try begins later than this after a call's first failure, in milliseconds; 60,000 by default. */
  readonly deadlineMs?: number;
  /** The longest that the first wait can be, in milliseconds; it doubles with each. 100 by default. */
  readonly firstDelayMs?: number;
  /** What the longest wait grows to, in milliseconds; 5,000 by default. */
  readonly maxDelayMs?: number;
  /** A clock in milliseconds that never goes back. */
  readonly now?: () => number;
  /** From 0 to less than 1. */
  readonly random?: () => number;
  /** Waits, or rejects when the signal is aborted. */
  readonly sleep?: (ms: number, signal: AbortSignal | undefined) => Promise<void>;
  /** Told before each wait. */
  readonly onRetry?: (retry: Retry) => void;
}

export interface Retry {
  readonly operation: string;
  readonly key: string;
  /** How many tries have failed. */
  readonly tries: number;
  readonly delayMs: number;
  readonly error: StoreError;
}

const DEADLINE_MS = 60_000;
const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 5000;

/**
 * Tries again after damage only this often: bytes that were damaged on their way come whole the next time, those that are damaged
 * in the store stay so.
 */
const RETRIES_OF_DAMAGE = 2;

/**
 * Tries calls again that failed for the moment: exponential backoff with full jitter, so that those who failed together don't come
 * back together (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/), and never sooner than the store asks.
 */
export function retry(driver: Driver, options: RetryOptions = {}): Driver {
  const { deadlineMs = DEADLINE_MS, firstDelayMs = FIRST_DELAY_MS, maxDelayMs = MAX_DELAY_MS } = options;
  const { now = () => performance.now(), random = Math.random, sleep = sleepFor, onRetry } = options;

  /** `work` is told how many tries have failed; `mayPass` whether damage may have happened on the way. */
  async function tryAgain<T>(
    operation: string,
    key: string,
    signal: AbortSignal | undefined,
    work: (failed: number) => Promise<T>,
    mayPass: () => boolean = () => true,
  ): Promise<T> {
    let firstFailure: number | undefined;
    let damages = 0;
    for (let tries = 0; ; ) {
      try {
        return await work(tries);
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof StoreError)) throw error;
        const again = error.kind === "temporary" || (error.kind === "damaged" && ++damages <= RETRIES_OF_DAMAGE && mayPass());
        if (!again) throw error;
        tries++;
        firstFailure ??= now();
        const jitter = random() * Math.min(maxDelayMs, firstDelayMs * 2 ** (tries - 1));
        const delayMs = (error.retryAfterMs ?? 0) + jitter;
        const elapsedMs = now() - firstFailure;
        if (elapsedMs + delayMs > deadlineMs) throw gaveUp(error, tries, elapsedMs);
        onRetry?.({ operation, key, tries, delayMs, error });
        await sleep(delayMs, signal);
      }
    }
  }

  /**
   * A try that failed may have created the object all the same, its answer lost, and the next try is then told that the key exists.
   * Whose object it is, is told by its bytes: what is the same as what was sent counts as sent by us.
   *
   * That is right because all that is ever contended (claims, entries of logs, marks) carries the id of the upload or request that
   * made it, so that two writers never send the same bytes; and because data objects have keys of their own. For an object without
   * such an id it would answer `true` to two writers.
   */
  function putIfAbsent(key: string, body: ByteParts, putOptions: PutOptions): Promise<boolean> {
    return tryAgain(
      "putIfAbsent",
      key,
      putOptions.signal,
      async (failed) => {
        const created = await driver.putIfAbsent(key, body, putOptions);
        return created || (failed > 0 && (await holds(key, body, putOptions)));
      },
      // Sending a refused body again helps only if what we hold is what its checksum says.
      () => crc32cOfParts(body) === putOptions.crc32c,
    );
  }

  /** Whether the store holds this body under this key. */
  async function holds(key: string, body: ByteParts, { crc32c: expected, signal }: PutOptions): Promise<boolean> {
    try {
      const found = await driver.read(key, undefined, { signal });
      const size = body.reduce((sum, part) => sum + part.length, 0);
      return found.length === size && crc32c(found) === expected;
    } catch (error) {
      // Deleted since: keys that are contended never are, so this was somebody's data object, and not ours.
      if (error instanceof StoreError && error.kind === "notFound") return false;
      throw error;
    }
  }

  return {
    name: driver.name,
    readBytes: driver.readBytes,
    putIfAbsent,
    read: (key, range, callOptions) => tryAgain("read", key, callOptions?.signal, () => driver.read(key, range, callOptions)),
    list: (prefix, listOptions) => tryAgain("list", prefix, listOptions?.signal, () => driver.list(prefix, listOptions)),
    delete: (key, callOptions) => tryAgain("delete", key, callOptions?.signal, () => driver.delete(key, callOptions)),
    close: () => driver.close(),
  };
}

function gaveUp(error: StoreError, tries: number, elapsedMs: number): StoreError {
  const message = `${error.message} (${tries} ${tries === 1 ? "try" : "tries"} in ${(elapsedMs / 1000).toFixed(1)} s)`;
  const retryAfter = error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs };
  return new StoreError(error.kind, message, { cause: error, ...retryAfter });
}

async function sleepFor(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await wait(ms, undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    // Node rejects with an AbortError of its own; ours is the signal's reason.
    signal?.throwIfAborted();
    throw error;
  }
}
