/** A driver whose calls a test can watch, hold, fail, or rob of their answers; the store behind it is a real one. */
import type { Driver } from "../../src/store/driver.ts";
import { StoreError } from "../../src/store/driver.ts";

export type Operation = "putIfAbsent" | "read" | "list" | "delete";

export interface Call {
  readonly operation: Operation;
  readonly key: string;
}

export interface Interceptor {
  /** Runs before the call reaches the store; throwing fails it there. */
  before?(call: Call): void | Promise<void>;
  /** Runs when the store has answered; throwing loses the answer. */
  after?(call: Call): void | Promise<void>;
}

export interface InterceptedDriver extends Driver {
  /** What happens to calls from now on. */
  interceptor: Interceptor;
  readonly calls: Call[];
}

export function intercept(driver: Driver): InterceptedDriver {
  const calls: Call[] = [];
  async function around<T>(call: Call, run: () => Promise<T>): Promise<T> {
    calls.push(call);
    const { interceptor } = intercepted;
    await interceptor.before?.(call);
    const result = await run();
    await interceptor.after?.(call);
    return result;
  }
  const intercepted: InterceptedDriver = {
    name: driver.name,
    readBytes: driver.readBytes,
    interceptor: {},
    calls,
    putIfAbsent: (key, body, options) => around({ operation: "putIfAbsent", key }, () => driver.putIfAbsent(key, body, options)),
    read: (key, range, options) => around({ operation: "read", key }, () => driver.read(key, range, options)),
    list: (prefix, options) => around({ operation: "list", key: prefix }, () => driver.list(prefix, options)),
    delete: (key, options) => around({ operation: "delete", key }, () => driver.delete(key, options)),
    close: () => driver.close(),
  };
  return intercepted;
}

/** Holds the first call that `matches` until it is released; `reached` resolves when it got there. */
export function holdFirst(matches: (call: Call) => boolean, when: "before" | "after" = "before") {
  let release = (): void => {};
  let arrive = (): void => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  const reached = new Promise<void>((resolve) => (arrive = resolve));
  let held = false;
  const interceptor: Interceptor = {
    async [when](call: Call) {
      if (held || !matches(call)) return;
      held = true;
      arrive();
      await released;
    },
  };
  return { interceptor, reached, release: () => release() };
}

/** Fails every call that `matches`, before or after it took effect, as a server's death or a lost connection would. */
export function failing(matches: (call: Call) => boolean, when: "before" | "after" = "before"): Interceptor & { readonly fired: number } {
  const interceptor = {
    fired: 0,
    [when](call: Call) {
      if (!matches(call)) return;
      interceptor.fired++;
      throw new StoreError("failed", `${call.operation} ${call.key}: broken off by the test`);
    },
  };
  return interceptor;
}

/** Whether a call puts an object whose key matches. */
export const puts = (pattern: RegExp) => (call: Call) => call.operation === "putIfAbsent" && pattern.test(call.key);
