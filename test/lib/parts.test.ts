import assert from "node:assert/strict";
import fc from "fast-check";
import { untilAborted } from "../../src/lib/abort.ts";
import { grouped } from "../../src/lib/grouped.ts";
import { lazySort } from "../../src/lib/lazy-sort.ts";
import { mapAhead } from "../../src/lib/map-ahead.ts";
import { Semaphore } from "../../src/lib/semaphore.ts";
import { compareUtf8 } from "../../src/lib/utf8-order.ts";

/** A promise, and what settles it. */
function deferred<T = void>() {
  let resolve: (value: T) => void = () => {};
  let reject: (error: unknown) => void = () => {};
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("the order of UTF-8 bytes", () => {
  it("is the order of the encoded strings", () => {
    const text = fc.oneof(fc.string({ unit: "binary", maxLength: 5 }), fc.string({ maxLength: 5 }));
    fc.assert(
      fc.property(text, text, (a, b) => {
        assert.equal(Math.sign(compareUtf8(a, b)), Buffer.compare(Buffer.from(a), Buffer.from(b)));
      }),
      { numRuns: 2000 },
    );
  });

  it("puts a face after a full-width letter, which JavaScript doesn't", () => {
    assert.ok(compareUtf8("\u{1F600}", "\uFF21") > 0);
    assert.ok("\u{1F600}" < "\uFF21");
  });
});

describe("a lazy sort", () => {
  it("gives what sorting gives, as far as it is asked", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ max: 50 })), fc.nat(60), (items, count) => {
        const expected = [...items].sort((a, b) => a - b).slice(0, count);
        const taken: number[] = [];
        for (const item of lazySort([...items], (a, b) => a - b)) {
          if (taken.length === count) break;
          taken.push(item);
        }
        assert.deepEqual(taken, expected);
      }),
    );
  });

  it("compares little when little is asked for", () => {
    const items = Array.from({ length: 10_000 }, (_, i) => (i * 7919) % 10_007);
    let compared = 0;
    const least = lazySort(items, (a, b) => {
      compared++;
      return a - b;
    }).next().value;
    assert.equal(least, 0);
    assert.ok(compared < 30_000, `${compared} comparisons`);
  });
});

describe("a semaphore", () => {
  it("lets no more run than it has permits, in order of arrival", async () => {
    const semaphore = new Semaphore(2);
    const started: number[] = [];
    const gates = Array.from({ length: 5 }, () => deferred());
    const runs = gates.map((gate, i) =>
      semaphore.run(async () => {
        started.push(i);
        await gate.promise;
      }),
    );
    await turn();
    assert.deepEqual(started, [0, 1]);
    assert.equal(semaphore.waiting, 3);
    gates[1]?.resolve();
    await turn();
    assert.deepEqual(started, [0, 1, 2]);
    for (const gate of gates) gate.resolve();
    await Promise.all(runs);
    assert.deepEqual(started, [0, 1, 2, 3, 4]);
  });

  it("takes a permit back when the work fails", async () => {
    const semaphore = new Semaphore(1);
    await assert.rejects(semaphore.run(() => Promise.reject(new Error("no"))));
    assert.equal(await semaphore.run(async () => "next"), "next");
  });

  it("lets go of one who gives up waiting, and serves the next", async () => {
    const semaphore = new Semaphore(1);
    const gate = deferred();
    const first = semaphore.run(() => gate.promise);
    const controller = new AbortController();
    const reason = new Error("enough");
    const second = semaphore.run(async () => assert.fail("it gave up"), controller.signal);
    const third = semaphore.run(async () => "third");
    await turn();
    controller.abort(reason);
    await assert.rejects(second, (error) => error === reason);
    gate.resolve();
    await first;
    assert.equal(await third, "third");
  });

  it("loses no permit when it is granted and given up in the same turn", async () => {
    const semaphore = new Semaphore(1);
    const gate = deferred();
    const first = semaphore.run(() => gate.promise);
    const controller = new AbortController();
    const second = semaphore.run(async () => "second", controller.signal).catch(() => "gave up");
    await turn();
    gate.resolve();
    queueMicrotask(() => controller.abort());
    controller.abort();
    await first;
    assert.equal(await second, "gave up");
    assert.equal(await semaphore.run(async () => "next"), "next");
  });

  it("refuses a number of permits that is none", () => {
    for (const permits of [0, -1, 1.5, Number.NaN]) assert.throws(() => new Semaphore(permits), RangeError);
  });
});

describe("mapping ahead", () => {
  it("gives the results in order, whichever is there first, and is at work on no more than it may", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(3)), fc.integer({ min: 1, max: 5 }), async (turns, most) => {
        let [working, highest] = [0, 0];
        const results: number[] = [];
        const indexes = turns.map((_, i) => i);
        const mapped = mapAhead(indexes, most, async (index) => {
          highest = Math.max(highest, ++working);
          for (let left = turns[index] ?? 0; left > 0; left--) await turn();
          working--;
          return index;
        });
        for await (const result of mapped) results.push(result);
        assert.deepEqual(results, indexes);
        assert.ok(highest <= most);
      }),
    );
  });

  it("is at work on as many as it may, and asks for no values beyond", async () => {
    const gates = Array.from({ length: 5 }, () => deferred());
    const asked: number[] = [];
    const results = mapAhead(gates.keys(), 3, async (index) => {
      asked.push(index);
      await gates[index]?.promise;
    });
    const first = results.next();
    await turn();
    assert.deepEqual(asked, [0, 1, 2]);
    gates[1]?.resolve();
    gates[0]?.resolve();
    await first;
    await turn();
    assert.deepEqual(asked, [0, 1, 2]);
    void results.next();
    await turn();
    assert.deepEqual(asked, [0, 1, 2, 3]);
  });

  it("ends with the first failure in the order of the values, and leaves none unhandled", async () => {
    const unhandled: unknown[] = [];
    const onUnhandled = (error: unknown) => void unhandled.push(error);
    process.prependListener("unhandledRejection", onUnhandled);
    const results = mapAhead([0, 1, 2], 3, async (value) => {
      if (value === 2) throw new Error("sooner");
      for (let i = 0; i < 3; i++) await turn();
      if (value === 1) throw new Error("first");
      return value;
    });
    assert.deepEqual(await results.next(), { done: false, value: 0 });
    await assert.rejects(results.next(), /first/);
    assert.deepEqual(await results.next(), { done: true, value: undefined });
    await turn();
    process.off("unhandledRejection", onUnhandled);
    assert.deepEqual(unhandled, []);
  });
});

describe("grouped runs", () => {
  it("serve each caller by a run that began after it asked, and share it among those who wait", async () => {
    const runs: ReturnType<typeof deferred<number>>[] = [];
    const call = grouped((_key: string) => {
      const run = deferred<number>();
      runs.push(run);
      return run.promise;
    });
    const first = call("a");
    const waiting = [call("a"), call("a"), call("a")];
    const other = call("b");
    assert.equal(runs.length, 2, "another key doesn't wait");
    runs[0]?.resolve(1);
    runs[1]?.resolve(2);
    assert.equal(await first, 1);
    assert.equal(await other, 2);
    await turn();
    assert.equal(runs.length, 3, "those who waited share one run");
    runs[2]?.resolve(3);
    assert.deepEqual(await Promise.all(waiting), [3, 3, 3]);
    const later = call("a");
    assert.equal(runs.length, 4);
    runs[3]?.resolve(4);
    assert.equal(await later, 4);
  });

  it("give the error of a run to its callers alone", async () => {
    const runs: ReturnType<typeof deferred<number>>[] = [];
    const call = grouped((_key: string) => {
      const run = deferred<number>();
      runs.push(run);
      return run.promise;
    });
    const first = call("a");
    const second = call("a");
    runs[0]?.reject(new Error("broken"));
    await assert.rejects(first, /broken/);
    await turn();
    runs[1]?.resolve(2);
    assert.equal(await second, 2);
  });
});

describe("waiting until aborted", () => {
  it("gives what the promise gives, when nobody aborts", async () => {
    const { signal } = new AbortController();
    assert.equal(await untilAborted(Promise.resolve(1), signal), 1);
    await assert.rejects(untilAborted(Promise.reject(new Error("no")), signal), /no/);
    assert.equal(await untilAborted(Promise.resolve(2), undefined), 2);
  });

  it("rejects with the reason as soon as the signal is aborted, also when the promise rejects later", async () => {
    const slow = deferred();
    const reason = new Error("enough");
    const controller = new AbortController();
    const waiting = untilAborted(slow.promise, controller.signal);
    controller.abort(reason);
    await assert.rejects(waiting, (error) => error === reason);
    slow.reject(new Error("late"));
    await turn();
    await assert.rejects(untilAborted(new Promise(() => {}), controller.signal), (error) => error === reason);
  });
});
