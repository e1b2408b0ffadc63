import assert from "node:assert/strict";
import type { Driver } from "../../src/store/driver.ts";
import { StoreError } from "../../src/store/driver.ts";
import { MemoryObjects, openMemory } from "../../src/store/drivers/memory.ts";
import { composeLayers } from "../../src/store/layers/index.ts";
import type { StoreCall } from "../../src/store/layers/instrument.ts";
import { instrument } from "../../src/store/layers/instrument.ts";
import { limit } from "../../src/store/layers/limit.ts";
import { timeout } from "../../src/store/layers/timeout.ts";
import { describeDriver, put, rejectsWith, testBytes } from "./conformance.ts";
import type { Fault } from "./faulty.ts";
import { faulty } from "./faulty.ts";

const busy = (retryAfterMs?: number): StoreError =>
  new StoreError("temporary", "memory: busy", retryAfterMs === undefined ? {} : { retryAfterMs });
const refused = (operation: Fault["operation"], error: Error = busy()): Fault => ({ operation, how: "refused", error });
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("the layer limit", () => {
  it("lets no more calls of all kinds run than it is told, in their order", async () => {
    const store = openMemory();
    let running = 0;
    let most = 0;
    const order: string[] = [];
    const counted: Driver = {
      ...store,
      async read(key, range, options) {
        order.push(key);
        most = Math.max(most, ++running);
        await turn();
        running--;
        return store.read(key, range, options);
      },
      async putIfAbsent(key, body, options) {
        order.push(key);
        most = Math.max(most, ++running);
        await turn();
        running--;
        return store.putIfAbsent(key, body, options);
      },
    };
    await put(store, "x", testBytes(1));
    const driver = limit(counted, { maxConcurrent: 3 });
    const keys = Array.from({ length: 12 }, (_, i) => `k${i}`);
    await Promise.all(keys.map((key, i) => (i % 2 ? put(driver, key, testBytes(1)) : driver.read(key, undefined).catch(() => {}))));
    assert.deepEqual(order, keys);
    assert.equal(most, 3);
  });

  it("lets a call that waits be ended, and goes on with the next", async () => {
    const line = faulty(openMemory());
    const driver = limit(line.driver, { maxConcurrent: 1 });
    const controllers = [new AbortController(), new AbortController()];
    line.strike({ operation: "list", how: "hangs" });
    // The layer below would end the first, which hangs; here it keeps its permit.
    const first = driver.list("", { signal: controllers[0]?.signal });
    first.catch(() => {});
    const second = driver.list("", { signal: controllers[1]?.signal });
    await turn();
    assert.equal(line.signals.length, 1, "the second waits");
    const reason = new Error("enough");
    controllers[1]?.abort(reason);
    await assert.rejects(second, (error) => error === reason);
    assert.equal(line.signals.length, 1, "the second never reached the store");
  });

  it("takes a permit back from a call that failed", async () => {
    const line = faulty(openMemory());
    const driver = limit(line.driver, { maxConcurrent: 1 });
    line.strike(refused("list"));
    await rejectsWith("temporary", driver.list(""));
    assert.deepEqual(await driver.list(""), { objects: [], more: false });
  });
});

describe("the layer timeout", () => {
  const MIB = 1024 * 1024;

  /** A driver whose timers are run by hand. */
  function setUp() {
    const store = openMemory();
    const line = faulty(store);
    const timers: { ms: number; fire: () => void; stopped: boolean }[] = [];
    const driver = timeout(line.driver, {
      baseMs: 1000,
      perMibMs: 100,
      wholeReadBytes: 17 * MIB,
      startTimer: (fire, ms) => {
        const timer = { ms, fire, stopped: false };
        timers.push(timer);
        return () => {
          timer.stopped = true;
        };
      },
    });
    return { store, line, driver, timers };
  }

  const calls: readonly [Fault["operation"], string, number, (driver: Driver, signal?: AbortSignal) => Promise<unknown>][] = [
    [
      "putIfAbsent",
      "writing object (4194304 bytes)",
      1400,
      (driver, signal) => driver.putIfAbsent("object", [testBytes(MIB), testBytes(3 * MIB)], { crc32c: 0, signal }),
    ],
    ["read", "reading object", 2700, (driver, signal) => driver.read("object", undefined, { signal })],
    [
      "read",
      "reading 2097152 bytes of object",
      1200,
      (driver, signal) => driver.read("object", { offset: 5, length: 2 * MIB }, { signal }),
    ],
    ["list", "listing log/", 1000, (driver, signal) => driver.list("log/", { signal })],
    ["delete", "deleting object", 1000, (driver, signal) => driver.delete("object", { signal })],
  ];
  for (const [operation, what, ms, call] of calls) {
    it(`ends ${what} after ${ms} ms as temporary, and tells the driver`, async () => {
      const { line, driver, timers } = setUp();
      line.strike({ operation, how: "hangs" });
      const running = call(driver);
      assert.equal(timers[0]?.ms, ms);
      timers[0]?.fire();
      const error = await rejectsWith("temporary", running);
      assert.equal(error.message, `memory: ${what} got no answer within ${(ms / 1000).toFixed(1)} s`);
      assert.equal(line.signals[0]?.aborted, true);
    });

    it(`passes the caller's abort on while ${what} hangs`, async () => {
      const { line, driver, timers } = setUp();
      line.strike({ operation, how: "hangs" });
      const controller = new AbortController();
      const reason = new Error("enough");
      const running = call(driver, controller.signal);
      controller.abort(reason);
      await assert.rejects(running, (error) => error === reason);
      assert.equal(line.signals[0]?.reason, reason);
      assert.equal(timers[0]?.stopped, true);
    });
  }

  it("stops its timer when a call ends, well or not", async () => {
    const { driver, timers } = setUp();
    await driver.list("");
    await rejectsWith("notFound", driver.read("object", undefined));
    assert.deepEqual(
      timers.map(({ stopped }) => stopped),
      [true, true],
    );
  });

  it("runs on the system's timers by default", async () => {
    const line = faulty(openMemory());
    line.strike({ operation: "list", how: "hangs" });
    await rejectsWith("temporary", timeout(line.driver, { baseMs: 5 }).list(""));
  });
});

describe("the layer instrument", () => {
  function setUp() {
    const line = faulty(openMemory());
    const seen: StoreCall[] = [];
    let time = 0;
    const driver = instrument(line.driver, {
      observe: (call) => seen.push(call),
      kindOfKey: (key) => key.split("/")[0] as string,
      now: () => (time += 5),
    });
    return { line, seen, driver };
  }

  it("tells of each call: operation, sort of key, bytes, time and outcome", async () => {
    const { driver, seen } = setUp();
    await put(driver, "data/1", testBytes(100), testBytes(20));
    await put(driver, "data/1", testBytes(7));
    await driver.read("data/1", undefined);
    await driver.read("data/1", { offset: 100, length: 50 });
    await driver.list("log/");
    await driver.delete("data/1");
    await rejectsWith("notFound", driver.read("log/1", undefined));
    assert.deepEqual(
      seen.map(({ operation, keyKind, bytes, durationMs, outcome }) => [operation, keyKind, bytes, durationMs, outcome]),
      [
        ["putIfAbsent", "data", 120, 5, "ok"],
        ["putIfAbsent", "data", 7, 5, "ok"],
        ["read", "data", 120, 5, "ok"],
        ["read", "data", 20, 5, "ok"],
        ["list", "log", 0, 5, "ok"],
        ["delete", "data", 0, 5, "ok"],
        ["read", "log", 0, 5, "notFound"],
      ],
    );
  });

  it("tells an aborted call and a mistake from a store's failure", async () => {
    const { driver, seen, line } = setUp();
    await assert.rejects(driver.list("", { signal: AbortSignal.abort() }));
    line.strike(refused("list", new TypeError("a mistake")), refused("list"));
    await assert.rejects(driver.list(""), TypeError);
    await rejectsWith("temporary", driver.list(""));
    assert.deepEqual(
      seen.map(({ outcome }) => outcome),
      ["aborted", "failed", "temporary"],
    );
  });
});

describe("all layers together", () => {
  it("end a call that hangs, try it again, and report it once", async () => {
    const line = faulty(openMemory());
    const seen: StoreCall[] = [];
    const driver = composeLayers(line.driver, {
      timeout: { baseMs: 5 },
      retry: { firstDelayMs: 1 },
      instrument: { observe: (call) => seen.push(call) },
    });
    line.strike({ operation: "list", how: "hangs" }, { operation: "list", how: "hangs" });
    await driver.list("");
    assert.equal(line.signals.length, 3);
    assert.deepEqual(
      seen.map(({ outcome }) => outcome),
      ["ok"],
    );
  });

  it("hold no permit while a call waits to be tried again", async () => {
    const line = faulty(openMemory());
    let release = () => {};
    const driver = composeLayers(line.driver, {
      limit: { maxConcurrent: 1 },
      retry: {
        sleep: () =>
          new Promise((resolve) => {
            release = resolve;
          }),
      },
    });
    line.strike(refused("list"));
    const waiting = driver.list("");
    assert.equal(await put(driver, "object", testBytes(1)), true, "another call runs meanwhile");
    release();
    assert.equal((await waiting).objects.length, 1);
  });

  it("count no wait for a permit as the store's time", async () => {
    const store = openMemory();
    const timers: number[] = [];
    let open = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const slow: Driver = { ...store, list: (prefix, options) => gate.then(() => store.list(prefix, options)) };
    const driver = composeLayers(slow, {
      limit: { maxConcurrent: 1 },
      timeout: {
        startTimer: (_fire, ms) => {
          timers.push(ms);
          return () => {};
        },
      },
    });
    const both = [driver.list(""), driver.list("")];
    await turn();
    assert.equal(timers.length, 1, "the second waits without a timer");
    open();
    await Promise.all(both);
    assert.equal(timers.length, 2);
  });
});

const spaces = new Map<string, MemoryObjects>();
function layered(space: string): Driver {
  const objects = spaces.get(space) ?? new MemoryObjects();
  spaces.set(space, objects);
  return composeLayers(openMemory(`memory:${space}`, { objects }), { instrument: { observe: () => {} } });
}
describeDriver("memory within all layers", {
  start: async () => {},
  open: async (space) => layered(space),
  openDamageable: async (space) => ({
    driver: layered(space),
    damage: async (key) => {
      const bytes = spaces.get(space)?.byKey.get(key)?.bytes as Uint8Array;
      bytes[0] = (bytes[0] as number) ^ 0x80;
    },
  }),
  failures: [
    {
      when: "its capacity is used up",
      kind: "full",
      call: () => put(composeLayers(openMemory("memory:", { capacity: 9 })), "object", testBytes(10)),
    },
  ],
  stop: async () => spaces.clear(),
});
