/** The call that work is done for, wherever that is: so that a store call's log line can name the request. */
import { AsyncLocalStorage } from "node:async_hooks";
import type { Call } from "./calls.ts";

const storage = new AsyncLocalStorage<Call>();

export function currentCall(): Call | undefined {
  return storage.getStore();
}

/** Runs `work`, and all that it starts, for `call`. */
export function runAs<T>(call: Call, work: () => T): T {
  return storage.run(call, work);
}
