import assert from "node:assert/strict";
import type { Driver, StoreErrorKind } from "../../src/store/driver.ts";
import { StoreError } from "../../src/store/driver.ts";
import { openMemory } from "../../src/store/drivers/memory.ts";
import type { Retry } from "../../src/store/layers/retry.ts";
import { retry } from "../../src/store/layers/retry.ts";
import { put, rejectsWith, testBytes } from "./conformance.ts";
import type { Fault } from "./faulty.ts";
import { faulty } from "./faulty.ts";

const busy = (retryAfterMs?: number): StoreError =>
  new StoreError("temporary", "memory: busy", retryAfterMs === undefined ? {} : { retryAfterMs });
const refused = (operation: Fault["operation"], error: Error = busy()): Fault => ({ operation, how: "refused", error });
const answerLost = (operation: Fault["operation"], error: Error = busy()): Fault => ({ operation, how: "answerLost", error });
const times = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value);
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("the layer retry", () => {
  /** A retrying driver over a faulty one, on a clock that only waiting moves. */
  function setUp(random = 0.5) {
    const store = openMemory();
    const line = faulty(store);
    const retries: Retry[] = [];
    const slept: number[] = [];
    let time = 1000;
    const driver = retry(line.driver, {
      deadlineMs: 10_000,
      firstDelayMs: 100,
      maxDelayMs: 1000,
      now: () => time,
      random: () => random,
      sleep: async (ms, signal) => {
        slept.push(ms);
        time += ms;
        await turn();
        signal?.throwIfAborted();
      },
      onRetry: (one) => retries.push(one),
    });
    return { store, line, driver, retries, slept };
  }

  const operations: readonly [Fault["operation"], (driver: Driver) => Promise<unknown>][] = [
    ["putIfAbsent", (driver) => put(driver, "new", testBytes(10))],
    ["read", (driver) => driver.read("object", undefined)],
    ["list", (driver) => driver.list("")],
    ["delete", (driver) => driver.delete("object")],
  ];
  for (const [operation, call] of operations) {
    it(`tries ${operation} again after temporary failures, and says so`, async () => {
      const { store, line, driver, retries } = setUp();
      await put(store, "object", testBytes(10));
      line.strike(...times(3, refused(operation)));
      await call(driver);
      assert.equal(line.pending(), 0);
      assert.deepEqual(
        retries.map((one) => [one.operation, one.tries, one.error.kind]),
        [1, 2, 3].map((n) => [operation, n, "temporary"]),
      );
    });

    const permanent: StoreErrorKind[] = ["notFound", "outOfRange", "denied", "misconfigured", "full", "unsupported", "failed"];
    it(`gives up ${operation} at once after any other failure`, async () => {
      for (const kind of permanent) {
        const { line, driver, retries } = setUp();
        const error = new StoreError(kind, "no");
        line.strike(refused(operation, error));
        await assert.rejects(call(driver), (caught) => caught === error);
        assert.equal(retries.length, 0);
      }
    });
  }

  it("passes on an error that isn't a store's", async () => {
    const { line, driver } = setUp();
    const error = new TypeError("a mistake");
    line.strike(refused("read", error));
    await assert.rejects(driver.read("object", undefined), (caught) => caught === error);
  });

  it("doubles the longest wait up to its limit, and waits a random part of it", async () => {
    for (const [random, expected] of [
      [0.5, [50, 100, 200, 400, 500, 500]],
      [0, [0, 0, 0, 0, 0, 0]],
      [0.999, [99.9, 199.8, 399.6, 799.2, 999, 999]],
    ] as const) {
      const { line, driver, slept } = setUp(random);
      line.strike(...times(6, refused("list")));
      await driver.list("");
      assert.deepEqual(
        slept.map((ms) => Math.round(ms * 10) / 10),
        expected,
      );
    }
  });

  it("waits no less than the store asks", async () => {
    const { line, driver, slept } = setUp();
    line.strike(refused("list", busy(3000)));
    await driver.list("");
    assert.deepEqual(slept, [3050]);
  });

  it("gives up when the deadline would be over, saying how often it tried", async () => {
    const { line, driver, slept } = setUp();
    line.strike(...times(100, refused("read", busy(100))));
    const error = await rejectsWith("temporary", driver.read("object", undefined));
    const total = slept.reduce((sum, ms) => sum + ms, 0);
    assert.ok(total > 9000 && total <= 10_000, `${total} ms`);
    assert.match(error.message, new RegExp(`^memory: busy \\(${slept.length + 1} tries in 9\\.\\d s\\)$`));
    assert.equal(error.retryAfterMs, 100);
  });

  it("gives up at once when the store asks for more than the deadline", async () => {
    const { line, driver, slept } = setUp();
    line.strike(refused("read", busy(60_000)));
    await rejectsWith("temporary", driver.read("object", undefined));
    assert.deepEqual(slept, []);
  });

  it("counts the deadline from a call's first failure, not from a longer wait in a queue before it", async () => {
    let time = 0;
    const line = faulty(openMemory());
    const slow: Driver = {
      ...line.driver,
      list(prefix) {
        time += 20_000;
        return line.driver.list(prefix);
      },
    };
    const driver = retry(slow, { deadlineMs: 30_000, now: () => time, random: () => 0, sleep: async () => {} });
    line.strike(refused("list"));
    assert.deepEqual(await driver.list(""), { objects: [], more: false });
  });

  it("stops waiting when the signal is aborted, with its reason", async () => {
    const line = faulty(openMemory());
    line.strike(refused("list"));
    const controller = new AbortController();
    const reason = new Error("enough");
    // The layer's own sleep: an hour, which only the signal can end.
    const driver = retry(line.driver, {
      firstDelayMs: 3_600_000,
      maxDelayMs: 3_600_000,
      deadlineMs: 7_200_000,
      random: () => 0.9,
      onRetry: () => setImmediate(() => controller.abort(reason)),
    });
    await assert.rejects(driver.list("", { signal: controller.signal }), (error) => error === reason);
  });

  it("doesn't try again what failed while its signal was aborted", async () => {
    const { line, driver, retries } = setUp();
    const controller = new AbortController();
    const reason = new Error("enough");
    line.strike(refused("list"));
    const running = driver.list("", { signal: controller.signal });
    controller.abort(reason);
    await assert.rejects(running, (error) => error === reason);
    assert.equal(retries.length, 0);
  });

  describe("resolves a put whose answer was lost", () => {
    it("as created, when the object is what was sent", async () => {
      const { line, driver, store } = setUp();
      line.strike(answerLost("putIfAbsent"));
      assert.equal(await put(driver, "log/1", testBytes(100), testBytes(7)), true);
      assert.equal(line.pending(), 0);
      assert.equal((await store.list("")).objects.length, 1);
    });

    it("as created, also when reading it back fails for the moment", async () => {
      const { line, driver } = setUp();
      line.strike(answerLost("putIfAbsent"), refused("read"), refused("read"));
      assert.equal(await put(driver, "log/1", testBytes(100)), true);
      assert.equal(line.pending(), 0);
    });

    for (const [what, others] of [
      ["of another size", testBytes(101, 1)],
      ["of the same size", testBytes(100, 2)],
      ["empty", testBytes(0)],
    ] as const) {
      it(`as lost, when somebody else's object is there, ${what}`, async () => {
        const { line, driver, store } = setUp();
        await put(store, "log/1", others);
        line.strike(refused("putIfAbsent"));
        assert.equal(await put(driver, "log/1", testBytes(100, 1)), false);
      });
    }

    it("as lost without reading, when no try of it failed", async () => {
      const { line, driver, store } = setUp();
      await put(store, "log/1", testBytes(100));
      line.strike(refused("read", new Error("it was read")));
      assert.equal(await put(driver, "log/1", testBytes(100)), false);
      assert.equal(line.pending(), 1);
    });

    it("as lost, when the object is gone again", async () => {
      const { line, driver, store } = setUp();
      await put(store, "log/1", testBytes(100));
      line.strike(refused("putIfAbsent"), refused("read", new StoreError("notFound", "gone")));
      assert.equal(await put(driver, "log/1", testBytes(100)), false);
    });
  });

  describe("takes damage for damage on the way, a few times", () => {
    const damaged = new StoreError("damaged", "memory: not what was sent");

    it("and reads again", async () => {
      const { line, driver, store } = setUp();
      await put(store, "object", testBytes(10));
      line.strike(refused("read", damaged), refused("read", damaged));
      assert.deepEqual(await driver.read("object", undefined), testBytes(10));
    });

    it("and gives up reading what stays damaged", async () => {
      const { line, driver } = setUp();
      line.strike(...times(10, refused("read", damaged)));
      await assert.rejects(driver.read("object", undefined), (error) => error === damaged);
      assert.equal(line.pending(), 7);
    });

    it("and sends a refused body again", async () => {
      const { line, driver } = setUp();
      line.strike(refused("putIfAbsent", damaged));
      assert.equal(await put(driver, "object", testBytes(10)), true);
    });

    it("but not a body that isn't what its checksum says", async () => {
      const { driver, retries } = setUp();
      await rejectsWith("damaged", driver.putIfAbsent("object", [testBytes(10)], { crc32c: 1 }));
      assert.equal(retries.length, 0);
    });
  });
});
