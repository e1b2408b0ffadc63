/** The one policy for trying again what was cut off. `test/vectors/limits.json` has its numbers for every language. */
import { setTimeout as sleep } from "node:timers/promises";
import { ConnectError } from "@connectrpc/connect";
import { failureOf } from "../wire/status.ts";
import { isTemporary } from "./errors.ts";

const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 2_000;

/** Tells, failure by failure, whether to try again. */
export interface Patience {
  /** Something got ahead since the last failure. */
  progressed(): void;
  /** Waits for the next try; throws the error instead if it is no use, or if too long passed without progress. */
  wait(error: unknown, signal?: AbortSignal): Promise<void>;
}

/** `timeoutMs`: how long tries may go on without progress, from the first failure on. */
export function createPatience(timeoutMs: number): Patience {
  let failures = 0;
  let since: number | undefined;
  return {
    progressed() {
      failures = 0;
      since = undefined;
    },
    async wait(error, signal) {
      if (!isTemporary(error)) throw error;
      const now = performance.now();
      since ??= now;
      const left = timeoutMs - (now - since);
      if (left <= 0) throw error;
      const asked = error instanceof ConnectError ? failureOf(error).retryAfterMs : undefined;
      const longest = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** failures++);
      await sleep(Math.min(left, Math.max(asked ?? 0, Math.random() * longest)), undefined, signal ? { signal } : {});
    },
  };
}
