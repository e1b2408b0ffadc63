/** A process of its own on a file store, for file.test.ts. Prints what came of it. */
import fs from "node:fs";
import type { Driver } from "../../src/store/driver.ts";
import { StoreError } from "../../src/store/driver.ts";
import { openFile } from "../../src/store/drivers/file.ts";
import { put, testBytes } from "./conformance.ts";

const [task = "", root = "", ...args] = process.argv.slice(2);

const tasks: Record<string, (driver: Driver) => Promise<void>> = {
  /** put KEY SIZE */
  async put(driver) {
    await driverCall(put(driver, args[0] as string, testBytes(Number(args[1]))));
  },
  /** list PREFIX */
  async list(driver) {
    await driverCall(driver.list(args[0] ?? "").then(({ objects }) => objects.map(({ key }) => key).join(" ")));
  },
  /** Opens files until there are none left, then puts. */
  async exhaust(driver) {
    try {
      for (;;) fs.openSync(import.meta.filename, "r");
    } catch {
      await driverCall(put(driver, "object", testBytes(10)));
    }
  },
  /** race WORKER ROUNDS: puts contended keys, and prints those it won, and keys of its own. */
  async race(driver) {
    const [worker, rounds] = args.map(Number) as [number, number];
    const won: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const [created] = await Promise.all([
        put(driver, `log/${round}`, testBytes(1000, worker + 1)),
        put(driver, `own/${worker}/${round}/x`, testBytes(10)),
      ]);
      if (created) won.push(round);
    }
    console.log(won.join(" "));
  },
  /** Puts until it is killed, printing each key once its put has resolved. */
  async endless(driver) {
    for (let i = 0; ; i++) {
      await put(driver, `endless/${i}`, testBytes(300_000, i + 1));
      process.stdout.write(`endless/${i}\n`);
    }
  },
};

/** Prints how a call ended. */
async function driverCall(call: Promise<unknown>): Promise<void> {
  try {
    console.log("resolved", await call);
  } catch (error) {
    tell(error);
  }
}

function tell(error: unknown): void {
  console.log(error instanceof StoreError ? `${error.kind} ${error.message}` : error);
}

try {
  await tasks[task]?.(await openFile(root));
} catch (error) {
  tell(error);
}
