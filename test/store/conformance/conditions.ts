import assert from "node:assert/strict";
import { assertSame, LARGEST, put, testBytes } from "./helpers.ts";
import type { Place } from "./place.ts";

export function describeConditions(at: Place): void {
  describe("creates an object once", () => {
    it("answers false to a second put, and keeps the first body", async () => {
      await put(at.driver, "entry", testBytes(100, 1));
      assert.equal(await put(at.driver, "entry", testBytes(200, 2)), false);
      assertSame(await at.driver.read("entry", undefined), testBytes(100, 1));
    });

    it("answers false also when the second body is the same", async () => {
      await put(at.driver, "entry", testBytes(100));
      assert.equal(await put(at.driver, "entry", testBytes(100)), false);
    });

    it("answers false when the object is empty", async () => {
      assert.equal(await put(at.driver, "claim"), true);
      assert.equal(await put(at.driver, "claim", testBytes(1)), false);
      assert.equal((await at.driver.read("claim", undefined)).length, 0);
    });

    it("answers false to a large second body", async () => {
      await put(at.driver, "entry", testBytes(10, 1));
      assert.equal(await put(at.driver, "entry", testBytes(LARGEST, 2)), false);
      assertSame(await at.driver.read("entry", undefined), testBytes(10, 1));
    });

    it("answers false to a second driver", async () => {
      await put(at.driver, "entry", testBytes(10, 1));
      assert.equal(await put(await at.open(), "entry", testBytes(10, 2)), false);
    });

    it("keeps the time of an object that a second put met", async () => {
      await put(at.driver, "entry", testBytes(10));
      const before = (await at.driver.list("")).objects;
      await put(at.driver, "entry", testBytes(10, 2));
      assert.deepEqual((await at.driver.list("")).objects, before);
    });

    it("has one winner of 20 puts at once, whose body stays", async () => {
      const numbers = Array.from({ length: 20 }, (_, i) => i + 1);
      const created = await Promise.all(numbers.map((i) => put(at.driver, "log/1", testBytes(1000 + i, i))));
      const winners = numbers.filter((i) => created[i - 1]);
      assert.equal(winners.length, 1);
      const winner = winners[0] as number;
      assertSame(await at.driver.read("log/1", undefined), testBytes(1000 + winner, winner));
    });

    it("has one winner among the puts of several drivers", async () => {
      const drivers = [at.driver, await at.open(), await at.open(), await at.open()];
      for (let round = 0; round < 5; round++) {
        const created = await Promise.all(drivers.map((one, i) => put(one, `log/${round}`, testBytes(500, i + 1))));
        assert.equal(created.filter(Boolean).length, 1);
        const winner = created.indexOf(true);
        for (const one of drivers) assertSame(await one.read(`log/${round}`, undefined), testBytes(500, winner + 1));
      }
    });

    it("shows the winner's object to whoever lost, at once", async () => {
      const lost = async (i: number): Promise<number> => {
        if (await put(at.driver, "log/1", testBytes(64, i))) return 0;
        return (await at.driver.read("log/1", undefined)).length;
      };
      const seen = await Promise.all(Array.from({ length: 12 }, (_, i) => lost(i + 1)));
      assert.deepEqual(
        seen.sort((a, b) => a - b),
        [0, ...Array.from({ length: 11 }, () => 64)],
      );
    });
  });
}
