import assert from "node:assert/strict";
import { crc32cOfParts } from "../../../src/lib/crc32c.ts";
import { allKeys, assertSame, LARGEST, MIB, put, rejectsWith, testBytes } from "./helpers.ts";
import type { Place } from "./place.ts";

export function describeChecks(at: Place): void {
  describe("checks bytes", () => {
    for (const size of [0, 1, 5000, LARGEST]) {
      it(`refuses a body of ${size} bytes that isn't what its checksum says, and leaves nothing`, async () => {
        const body = [testBytes(size)];
        const wrong = (crc32cOfParts(body) ^ 0x0100) >>> 0;
        await rejectsWith("damaged", at.driver.putIfAbsent("object", body, { crc32c: wrong }));
        await rejectsWith("notFound", at.driver.read("object", undefined));
        assert.deepEqual(await allKeys(at.driver, ""), []);
      });
    }

    it("takes the right body after a wrong one was refused", async () => {
      const body = [testBytes(100), testBytes(50)];
      await rejectsWith("damaged", at.driver.putIfAbsent("object", body, { crc32c: crc32cOfParts([...body].reverse()) }));
      assert.equal(await put(at.driver, "object", ...body), true);
      assertSame(await at.driver.read("object", undefined), Buffer.concat(body));
    });

    for (const size of [1, 5000, MIB + 1]) {
      it(`finds a changed byte in an object of ${size} bytes when it is read whole`, async () => {
        const store = await at.harness.openDamageable(at.space);
        at.opened.push(store.driver);
        await put(store.driver, "damaged", testBytes(size));
        await put(store.driver, "intact", testBytes(size));
        await store.damage("damaged");
        const error = await rejectsWith("damaged", store.driver.read("damaged", undefined));
        assert.match(error.message, /damaged/, "the message names the key");
        assertSame(await store.driver.read("intact", undefined), testBytes(size));
      });
    }
  });
}
