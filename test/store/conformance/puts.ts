import assert from "node:assert/strict";
import type { ByteParts } from "../../../src/store/driver.ts";
import { allKeys, assertSame, KIB, LARGEST, MIB, put, testBytes } from "./helpers.ts";
import type { Place } from "./place.ts";

export function describePuts(at: Place): void {
  describe("puts and reads", () => {
    for (const size of [0, 1, 4 * KIB, MIB - 1, LARGEST]) {
      it(`gives back an object of ${size} bytes as it was put`, async () => {
        const bytes = testBytes(size);
        assert.equal(await put(at.driver, "data/object", bytes), true);
        assertSame(await at.driver.read("data/object", undefined), bytes);
      });
    }

    const some = testBytes(100 * KIB, 7);
    const bodies: readonly [string, ByteParts][] = [
      ["no part", []],
      ["one empty part", [new Uint8Array(0)]],
      ["parts of different sizes", [some.subarray(0, 10), some.subarray(10, 50_000), some.subarray(50_000)]],
      ["empty parts between others", [new Uint8Array(0), some.subarray(0, 9), new Uint8Array(0), some.subarray(9), new Uint8Array(0)]],
      ["5,000 parts of 20 bytes", Array.from({ length: 5000 }, (_, i) => some.subarray(i * 20, i * 20 + 20))],
      ["views on one shared buffer, in another order", [some.subarray(500, 900), some.subarray(3, 77), some.subarray(600, 700)]],
      ["Buffers from Node's pool", [Buffer.from("one"), Buffer.from("two"), Buffer.from("three")]],
      ["two parts of 6 MiB", [testBytes(6 * MIB, 2), testBytes(6 * MIB, 3)]],
    ];
    for (const [what, body] of bodies) {
      it(`joins a body of ${what}`, async () => {
        assert.equal(await put(at.driver, "data/object", ...body), true);
        assertSame(await at.driver.read("data/object", undefined), Buffer.concat(body));
      });
    }

    const keys: readonly [string, string][] = [
      ["of one letter", "k"],
      ["with a leading dot", ".format/1"],
      ["of ten segments", "a/b/c/d/e/f/g/h/i/j"],
      ["with every character that keys are made of", "ABCDEFGHIJKLMNOPQRSTUVWXYZ/abcdefghijklmnopqrstuvwxyz/0123456789._-"],
      ["with a segment of 255 bytes", `x/${"s".repeat(255)}/y`],
      ["of 700 bytes", Array.from({ length: 7 }, (_, i) => `${i}`.repeat(99)).join("/")],
    ];
    for (const [what, key] of keys) {
      it(`holds a key ${what}`, async () => {
        await put(at.driver, key, testBytes(10));
        assertSame(await at.driver.read(key, undefined), testBytes(10));
        assert.deepEqual(await allKeys(at.driver, ""), [key]);
      });
    }

    it("tells keys apart that differ in case or in the end", async () => {
      const names = ["Run", "run", "run-1", "run-10", "run.1"];
      for (const [i, key] of names.entries()) assert.equal(await put(at.driver, `runs/${key}`, testBytes(8, i + 1)), true);
      for (const [i, key] of names.entries()) assertSame(await at.driver.read(`runs/${key}`, undefined), testBytes(8, i + 1));
    });

    it("keeps what was put when the caller changes the buffers afterwards", async () => {
      const bytes = testBytes(5000);
      await put(at.driver, "object", bytes);
      bytes.fill(0);
      assertSame(await at.driver.read("object", undefined), testBytes(5000));
    });

    it("gives each reader bytes of its own", async () => {
      await put(at.driver, "object", testBytes(5000));
      (await at.driver.read("object", undefined)).fill(0);
      (await at.driver.read("object", { offset: 0, length: 5000 })).fill(0);
      assertSame(await at.driver.read("object", undefined), testBytes(5000));
    });

    it("shows an object to a second driver as soon as the put resolves", async () => {
      const second = await at.open();
      for (let i = 0; i < 5; i++) {
        await put(at.driver, `log/${i}`, testBytes(100, i + 1));
        assertSame(await second.read(`log/${i}`, undefined), testBytes(100, i + 1));
        assert.equal((await second.list("log/")).objects.length, i + 1);
      }
    });

    it("takes 20 puts and 20 reads at once", async () => {
      const numbers = Array.from({ length: 20 }, (_, i) => i + 1);
      const created = await Promise.all(numbers.map((i) => put(at.driver, `many/${i}`, testBytes(i * 1000, i))));
      assert.deepEqual(
        created,
        numbers.map(() => true),
      );
      const read = await Promise.all(numbers.map((i) => at.driver.read(`many/${i}`, undefined)));
      for (const i of numbers) assertSame(read[i - 1] as Uint8Array, testBytes(i * 1000, i));
    });

    it("keeps spaces apart, also when one's name begins with the other's", async () => {
      const other = await at.open(`${at.space}x`);
      await put(at.driver, "object", testBytes(10, 1));
      assert.deepEqual(await allKeys(other, ""), []);
      assert.equal(await put(other, "object", testBytes(10, 2)), true);
      assert.deepEqual(await allKeys(at.driver, ""), ["object"]);
      assertSame(await at.driver.read("object", undefined), testBytes(10, 1));
    });
  });
}
