import assert from "node:assert/strict";
import { allKeys, keysOf, MAX_PAGE, MIB, put, testBytes } from "./helpers.ts";
import type { Place } from "./place.ts";

export function describeLists(at: Place): void {
  describe("lists", () => {
    /** In the order of their bytes: `-` and `.` come before `/`, digits, upper case, `_` and lower case after it. */
    const ordered = ["A/1", "A0", "_", "a-b", "a-b-c", "a.b", "a/b", "a/b0", "a/c-d", "a/c/d", "a/c0", "a0", "aa", "b/.x", "b/0", "z"];

    async function putAll(keys: readonly string[]): Promise<void> {
      await Promise.all(keys.map((key) => put(at.driver, key, Buffer.from(key))));
    }

    it("nothing in an empty store", async () => {
      assert.deepEqual(await at.driver.list(""), { objects: [], more: false });
      assert.deepEqual(await at.driver.list("runs/"), { objects: [], more: false });
    });

    it("all keys in the order of their bytes", async () => {
      await putAll([...ordered].reverse());
      assert.deepEqual(keysOf((await at.driver.list("")).objects), ordered);
    });

    it("numbers of 12 digits in their order", async () => {
      const keys = [999_999_999_998, 999_999_999_999, 1, 20, 3].map((n) => `log/r/${String(n).padStart(12, "0")}`);
      await putAll(keys);
      assert.deepEqual(await allKeys(at.driver, "log/r/"), [...keys].sort());
    });

    it("each object's size in bytes", async () => {
      await put(at.driver, "empty");
      await put(at.driver, "large", testBytes(3 * MIB), testBytes(17));
      const { objects } = await at.driver.list("");
      assert.deepEqual(
        objects.map(({ key, size }) => [key, size]),
        [
          ["empty", 0],
          ["large", 3 * MIB + 17],
        ],
      );
    });

    it("when each object was put, to within a minute of this clock", async () => {
      await put(at.driver, "object", testBytes(1));
      const [object] = (await at.driver.list("")).objects;
      assert.ok(object?.lastModified instanceof Date);
      assert.ok(Math.abs(object.lastModified.getTime() - Date.now()) < 60_000, String(object.lastModified));
    });

    const prefixes: readonly [string, string, readonly string[]][] = [
      ["a folder", "a/", ["a/b", "a/b0", "a/c-d", "a/c/d", "a/c0"]],
      ["a prefix that ends inside a segment", "a/c", ["a/c-d", "a/c/d", "a/c0"]],
      ["a prefix that ends before a slash", "a", ["a-b", "a-b-c", "a.b", "a/b", "a/b0", "a/c-d", "a/c/d", "a/c0", "a0", "aa"]],
      ["a whole key, and what goes on from it", "a-b", ["a-b", "a-b-c"]],
      ["a prefix that nothing starts with", "a/x", []],
      ["a prefix longer than any key", "z/1/2/3", []],
      ["a prefix in another case", "Z", []],
    ];
    for (const [what, prefix, expected] of prefixes) {
      it(`under ${what}`, async () => {
        await putAll(ordered);
        const page = await at.driver.list(prefix);
        assert.deepEqual(keysOf(page.objects), expected);
        assert.equal(page.more, false);
      });
    }

    const starts: readonly [string, string, string, readonly string[]][] = [
      ["a key, without it", "a/", "a/c-d", ["a/c/d", "a/c0"]],
      ["a key that isn't there", "a/", "a/bzz", ["a/c-d", "a/c/d", "a/c0"]],
      ["a folder, with what is in it", "a/", "a/c/", ["a/c/d", "a/c0"]],
      ["all of a folder, by the character after the slash", "a", "a/0", ["a/b", "a/b0", "a/c-d", "a/c/d", "a/c0", "a0", "aa"]],
      ["the whole folder, skipped by a key behind it", "", "a0", ["aa", "b/.x", "b/0", "z"]],
      ["something before the prefix", "b/", "a", ["b/.x", "b/0"]],
      ["the last key", "", "z", []],
      ["something behind the prefix", "a/", "b", []],
    ];
    for (const [what, prefix, startAfter, expected] of starts) {
      it(`what comes after ${what}`, async () => {
        await putAll(ordered);
        const page = await at.driver.list(prefix, { startAfter });
        assert.deepEqual(keysOf(page.objects), expected);
        assert.equal(page.more, false);
      });
    }

    for (const limit of [1, 2, 5, ordered.length - 1, ordered.length]) {
      it(`pages of ${limit} that are full, in order, and without gaps`, async () => {
        await putAll(ordered);
        let startAfter: string | undefined;
        for (let first = 0; first < ordered.length; first += limit) {
          const page = await at.driver.list("", { startAfter, limit });
          assert.deepEqual(keysOf(page.objects), ordered.slice(first, first + limit));
          assert.equal(page.more, first + limit < ordered.length);
          startAfter = page.objects.at(-1)?.key;
        }
      });
    }

    it("no more when other keys follow that lack the prefix", async () => {
      await putAll(ordered);
      assert.equal((await at.driver.list("a/", { limit: 5 })).more, false);
      assert.equal((await at.driver.list("a/", { limit: 4 })).more, true);
    });

    it("more than 1,000 keys in pages of 1,000 at the most", async () => {
      const keys = Array.from({ length: MAX_PAGE + 60 }, (_, i) => `data/u/${String(i).padStart(12, "0")}`);
      for (let i = 0; i < keys.length; i += 40) await putAll(keys.slice(i, i + 40));
      const first = await at.driver.list("data/");
      assert.deepEqual(keysOf(first.objects), keys.slice(0, MAX_PAGE));
      assert.equal(first.more, true);
      const second = await at.driver.list("data/", { startAfter: keys[MAX_PAGE - 1], limit: MAX_PAGE });
      assert.deepEqual(keysOf(second.objects), keys.slice(MAX_PAGE));
      assert.equal(second.more, false);
      assert.deepEqual(keysOf((await at.driver.list("data/u/", { limit: 3 })).objects), keys.slice(0, 3));
      assert.deepEqual(await allKeys(at.driver, "", 333), keys);
    });
  });
}
