import type { ObjectRange } from "../../../src/store/driver.ts";
import { assertSame, LARGEST, MIB, put, rejectsWith, testBytes } from "./helpers.ts";
import type { Place } from "./place.ts";

export function describeRanges(at: Place): void {
  describe("reads ranges", () => {
    const size = 10_000;
    const bytes = testBytes(size);
    const ranges: readonly [string, ObjectRange][] = [
      ["the first byte", { offset: 0, length: 1 }],
      ["the last byte", { offset: size - 1, length: 1 }],
      ["a stretch in the middle", { offset: 1234, length: 4321 }],
      ["exactly everything", { offset: 0, length: size }],
      ["all but the first byte", { offset: 1, length: size - 1 }],
    ];
    for (const [what, range] of ranges) {
      it(`gives ${what}`, async () => {
        await put(at.driver, "object", bytes);
        assertSame(await at.driver.read("object", range), bytes.subarray(range.offset, range.offset + range.length));
      });
    }

    it("cuts a range that goes past the end", async () => {
      await put(at.driver, "object", bytes);
      assertSame(await at.driver.read("object", { offset: size - 1, length: 2 }), bytes.subarray(size - 1));
      assertSame(await at.driver.read("object", { offset: 100, length: size }), bytes.subarray(100));
    });

    it("cuts a range that is far longer than the object", async () => {
      await put(at.driver, "object", bytes);
      assertSame(await at.driver.read("object", { offset: 0, length: 64 * MIB }), bytes);
    });

    it("refuses a range that starts at the end", async () => {
      await put(at.driver, "object", bytes);
      await rejectsWith("outOfRange", at.driver.read("object", { offset: size, length: 1 }));
    });

    it("refuses a range that starts past the end", async () => {
      await put(at.driver, "object", bytes);
      await rejectsWith("outOfRange", at.driver.read("object", { offset: size + 1, length: 10 }));
      await rejectsWith("outOfRange", at.driver.read("object", { offset: 2 ** 40, length: 10 }));
    });

    it("refuses every range of an empty object", async () => {
      await put(at.driver, "empty");
      await rejectsWith("outOfRange", at.driver.read("empty", { offset: 0, length: 1 }));
    });

    it("doesn't find a range of an object that isn't there", async () => {
      await rejectsWith("notFound", at.driver.read("object", { offset: 0, length: 1 }));
    });

    it("gives 1 MiB from anywhere in the largest object, 17 at once", async () => {
      const large = testBytes(LARGEST);
      await put(at.driver, "data/large", large);
      const offsets = Array.from({ length: 17 }, (_, i) => i * MIB);
      const read = await Promise.all(offsets.map((offset) => at.driver.read("data/large", { offset, length: MIB })));
      assertSame(Buffer.concat(read), large);
    });
  });
}
