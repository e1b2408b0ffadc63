/** The one policy for trying again what was cut off. `test/vectors/limits.json` has its numbers for every language. */
import { setTimeout as sleep } from "node:timers/promises";
import { ConnectError } from "@connectrpc/connect";
import { failureOf } from "../wire/status.ts";
import { isUnmade } from "./connection.ts";
import { isTemporary } from "./errors.ts";

export const FIRST_WAIT_MS = 100;
export const LONGEST_WAIT_MS = 2_000;
/** By which the longest wait grows with each failure since the last progress. */
export const WAIT_FACTOR = 2;

/** Tells, failure by failure, whether to try again. */
export interface Patience {
  /** Something got ahead since the last failure. */
  progressed(): void;
  /** Waits for the next try; throws the error instead if it is no use, or if too long passed without progress. */
  wait(error: unknown, signal?: AbortSignal): Promise<void>;
}

/**
 * For one thing to do. `timeoutMs`: how long tries may go on without progress, from the first failure on. `reached`: whether the server
 * has answered before; one that can't be reached at first is an error at once.
 */
export function createPatience(timeoutMs: number, reached = false): Patience {
  let wasReached = reached;
  let failures = 0;
  let since: number | undefined;
  return {
    progressed() {
      wasReached = true;
      failures = 0;
      since = undefined;
    },
    async wait(error, signal) {
      if (isUnmade(error) && !wasReached) throw error;
      if (!isTemporary(error)) throw error;
      // Lost on a connection that was made: what was asked for may have been done, and only trying again can tell.
      wasReached = true;
      const now = performance.now();
      since ??= now;
      const left = timeoutMs - (now - since);
      if (left <= 0) throw error;
      const asked = error instanceof ConnectError ? failureOf(error).retryAfterMs : undefined;
      const longest = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * WAIT_FACTOR ** failures++);
      await sleep(Math.min(left, Math.max(asked ?? 0, Math.random() * longest)), undefined, signal ? { signal } : {}).catch((aborted) => {
        throw signal?.reason ?? aborted;
      });
    },
  };
}

/** Makes a call until it succeeds or patience ends. Only for calls that are safe to make again. */
export async function retrying<T>(patience: Patience, call: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  for (;;) {
    try {
      const result = await call();
      patience.progressed();
      return result;
    } catch (error) {
      await patience.wait(error, signal);
    }
  }
}
