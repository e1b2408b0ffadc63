import assert from "node:assert/strict";
import { allKeys, put, rejectsWith, testBytes } from "./helpers.ts";
import type { Place } from "./place.ts";

export function describeErrors(at: Place): void {
  describe("says what is wrong", () => {
    it("when an object isn't there, naming the store and the key", async () => {
      await put(at.driver, "log/other", testBytes(10));
      const error = await rejectsWith("notFound", at.driver.read("log/none", undefined));
      assert.ok(error.message.includes(at.driver.name), error.message);
      assert.match(error.message, /log\/none/);
    });

    it("when a prefix is read as if it were an object", async () => {
      await put(at.driver, "log/run/1", testBytes(10));
      await rejectsWith("notFound", at.driver.read("log/run", undefined));
    });

    it("when an object is read as if it were a prefix", async () => {
      await put(at.driver, "log/run", testBytes(10));
      await rejectsWith("notFound", at.driver.read("log/run/1", undefined));
      assert.deepEqual(await at.driver.list("log/run/"), { objects: [], more: false });
      await at.driver.delete("log/run/1");
    });

    it("when it is called after it was closed, and closing again does no harm", async () => {
      await put(at.driver, "object", testBytes(10));
      await at.driver.close();
      await at.driver.close();
      for (const call of [
        () => put(at.driver, "new", testBytes(1)),
        () => at.driver.read("object", undefined),
        () => at.driver.list(""),
        () => at.driver.delete("object"),
      ]) {
        await rejectsWith("failed", call());
      }
      assert.deepEqual(await allKeys(await at.open(), ""), ["object"]);
    });

    for (const { when, kind, call } of at.harness.failures) {
      it(`with kind \`${kind}\` when ${when}`, async () => {
        await rejectsWith(kind, call());
      });
    }
  });
}
