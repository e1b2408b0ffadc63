/**
 * A layer between Node's `fs` and the file store, so that a test counts, stops, fails or records the store's calls to the system. It must
 * be loaded before the store is: `.mocharc.json` does it for the tests, programs that tests start do it by their first import.
 */
import fs from "node:fs";
import { promisify } from "node:util";

/** Calls that change what a disk holds, or make that durable. */
const CHANGING = ["open", "writev", "fsync", "link", "unlink", "mkdir", "rmdir"] as const;
const READING = ["read", "readdir", "lstat", "fstat", "close"] as const;

export interface Syscall {
  readonly name: (typeof CHANGING)[number] | (typeof READING)[number];
  readonly args: readonly unknown[];
  /** Whether it changes something; opening does if it creates. */
  readonly changes: boolean;
}

/** Runs in place of each call; `run` makes it, with other arguments if it is given some. */
export type Interceptor = (call: Syscall, run: (...args: unknown[]) => Promise<unknown>) => Promise<unknown>;

let interceptor: Interceptor | undefined;

/** What happens to calls from now on; `undefined` leaves them alone. */
export function intercept(next: Interceptor | undefined): void {
  interceptor = next;
}

/** The error that the system gives with a code, as Node tells it. */
export function systemError(code: string, name: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: made by the test, ${name}`), { code, syscall: name });
}

// The store makes its calls by `promisify`, which asks a function for the form that it should have then.
function wrap(name: Syscall["name"], changing: boolean): void {
  const call = promisify(fs[name] as (...args: unknown[]) => void) as (...args: unknown[]) => Promise<unknown>;
  Object.defineProperty(fs[name], promisify.custom, {
    value(...args: unknown[]): Promise<unknown> {
      const current = interceptor;
      if (current === undefined) return call(...args);
      const changes = changing && (name !== "open" || (Number(args[1]) & fs.constants.O_CREAT) !== 0);
      return current({ name, args, changes }, (...others) => call(...(others.length > 0 ? others : args)));
    },
  });
}

for (const name of CHANGING) wrap(name, true);
for (const name of READING) wrap(name, false);

// The one call that the store makes by `fs.promises`: of its root, and all above that.
const mkdirAll = fs.promises.mkdir.bind(fs.promises) as (...args: unknown[]) => Promise<unknown>;
fs.promises.mkdir = ((...args: unknown[]) =>
  interceptor === undefined
    ? mkdirAll(...args)
    : interceptor({ name: "mkdir", args, changes: true }, () => mkdirAll(...args))) as typeof fs.promises.mkdir;
