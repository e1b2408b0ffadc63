import assert from "node:assert/strict";
import { allKeys, assertSame, keysOf, put, rejectsWith, testBytes } from "./helpers.ts";
import type { Place } from "./place.ts";

export function describeDeletes(at: Place): void {
  describe("deletes", () => {
    it("an object from reads and listings", async () => {
      await put(at.driver, "data/1", testBytes(10));
      await put(at.driver, "data/2", testBytes(10));
      await at.driver.delete("data/1");
      await rejectsWith("notFound", at.driver.read("data/1", undefined));
      await rejectsWith("notFound", at.driver.read("data/1", { offset: 0, length: 1 }));
      assert.deepEqual(await allKeys(at.driver, ""), ["data/2"]);
    });

    it("for other drivers too, at once", async () => {
      const second = await at.open();
      await put(at.driver, "data/1", testBytes(10));
      assertSame(await second.read("data/1", undefined), testBytes(10));
      await at.driver.delete("data/1");
      await rejectsWith("notFound", second.read("data/1", undefined));
      assert.deepEqual(await allKeys(second, ""), []);
    });

    it("what isn't there without an error", async () => {
      await at.driver.delete("data/none");
      await put(at.driver, "data/1", testBytes(10));
      await at.driver.delete("data/1");
      await at.driver.delete("data/1");
    });

    it("objects 5 times at once without an error", async () => {
      for (let i = 0; i < 20; i++) {
        await put(at.driver, `data/${i}`, testBytes(10));
        await Promise.all(Array.from({ length: 5 }, () => at.driver.delete(`data/${i}`)));
        await rejectsWith("notFound", at.driver.read(`data/${i}`, undefined));
      }
    });

    it("nothing else: neither keys that go on from it nor neighbours", async () => {
      await put(at.driver, "data/1", testBytes(10));
      await put(at.driver, "data/10", testBytes(10));
      await put(at.driver, "data/2/1", testBytes(10));
      await at.driver.delete("data/1");
      await at.driver.delete("data/2");
      await at.driver.delete("data");
      assert.deepEqual(await allKeys(at.driver, ""), ["data/10", "data/2/1"]);
    });

    it("so that the key can be created again, with another body", async () => {
      await put(at.driver, "data/1", testBytes(10, 1));
      await at.driver.delete("data/1");
      assert.equal(await put(at.driver, "data/1", testBytes(20, 2)), true);
      assertSame(await at.driver.read("data/1", undefined), testBytes(20, 2));
    });

    it("the last of a prefix while others are put there", async () => {
      const rounds = Array.from({ length: 20 }, (_, i) => i);
      for (const i of rounds) {
        await put(at.driver, `data/u/a/${i}`, testBytes(10));
        const [, created] = await Promise.all([at.driver.delete(`data/u/a/${i}`), put(at.driver, `data/u/a/${i}-next`, testBytes(10))]);
        assert.equal(created, true);
        assertSame(await at.driver.read(`data/u/a/${i}-next`, undefined), testBytes(10));
        await at.driver.delete(`data/u/a/${i}-next`);
      }
      assert.deepEqual(await allKeys(at.driver, ""), []);
    });

    it("an object that was listed, and a listing goes on behind it", async () => {
      for (const n of [1, 2, 3]) await put(at.driver, `data/${n}`, testBytes(n));
      const page = await at.driver.list("data/", { limit: 1 });
      await at.driver.delete("data/1");
      const next = await at.driver.list("data/", { startAfter: page.objects[0]?.key });
      assert.deepEqual(keysOf(next.objects), ["data/2", "data/3"]);
    });
  });
}
