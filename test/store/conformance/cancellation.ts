import assert from "node:assert/strict";
import { crc32cOfParts } from "../../../src/lib/crc32c.ts";
import { allKeys, assertSame, LARGEST, put, testBytes } from "./helpers.ts";
import type { Place } from "./place.ts";

export function describeCancellation(at: Place): void {
  describe("ends a call early", () => {
    class Reason extends Error {}
    const reason = new Reason("enough");
    const calls: readonly [string, (signal: AbortSignal) => Promise<unknown>][] = [
      ["a put", (signal) => at.driver.putIfAbsent("new", [testBytes(5000)], { crc32c: crc32cOfParts([testBytes(5000)]), signal })],
      ["a read", (signal) => at.driver.read("object", undefined, { signal })],
      ["a read of a range", (signal) => at.driver.read("object", { offset: 5, length: 10 }, { signal })],
      ["a listing", (signal) => at.driver.list("", { signal })],
      ["a deletion", (signal) => at.driver.delete("object", { signal })],
    ];
    for (const [what, call] of calls) {
      it(`${what} whose signal was aborted before doesn't start, and rejects with the reason`, async () => {
        await put(at.driver, "object", testBytes(5000));
        await assert.rejects(call(AbortSignal.abort(reason)), (error) => error === reason);
        assert.deepEqual(await allKeys(at.driver, ""), ["object"]);
      });

      it(`${what} that is under way rejects with the signal's reason, and the driver goes on working`, async () => {
        await put(at.driver, "object", testBytes(5000));
        const controller = new AbortController();
        const running = call(controller.signal);
        controller.abort(reason);
        await assert.rejects(running, (error) => error === reason);
        assert.equal(await put(at.driver, "other", testBytes(10)), true);
        assertSame(await at.driver.read("other", undefined), testBytes(10));
      });

      it(`${what} whose signal is aborted afterwards has its result`, async () => {
        await put(at.driver, "object", testBytes(5000));
        const controller = new AbortController();
        await call(controller.signal);
        controller.abort(reason);
        assert.ok(await at.driver.list(""));
      });
    }

    it("a put of the largest object that is cut off anywhere leaves all of it or nothing", async () => {
      const bytes = testBytes(LARGEST);
      const crc32c = crc32cOfParts([bytes]);
      for (const turns of [1, 4, 16, 64, 256]) {
        const key = `cut/${turns}`;
        const controller = new AbortController();
        const running = at.driver.putIfAbsent(key, [bytes], { crc32c, signal: controller.signal }).then(
          () => "created",
          (error: unknown) => error,
        );
        for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
        controller.abort(reason);
        const outcome = await running;
        assert.ok(outcome === "created" || outcome === reason, String(outcome));
        // Whichever way it ended: afterwards the key can be put or is whole.
        const createdNow = await at.driver.putIfAbsent(key, [bytes], { crc32c });
        if (outcome === "created") assert.equal(createdNow, false);
        assertSame(await at.driver.read(key, undefined), bytes);
      }
      assert.deepEqual(
        (await at.driver.list("cut/")).objects.map(({ size }) => size),
        Array(5).fill(LARGEST),
      );
    });
  });
}
