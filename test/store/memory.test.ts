import assert from "node:assert/strict";
import { MemoryObjects, openMemory } from "../../src/store/drivers/memory.ts";
import type { DriverHarness } from "./conformance.ts";
import { describeDriver, put, rejectsWith, testBytes } from "./conformance.ts";

function memoryHarness(): DriverHarness {
  const spaces = new Map<string, MemoryObjects>();
  const objectsOf = (space: string): MemoryObjects => {
    const objects = spaces.get(space) ?? new MemoryObjects();
    spaces.set(space, objects);
    return objects;
  };
  return {
    start: async () => {},
    open: async (space) => openMemory(`memory:${space}`, { objects: objectsOf(space) }),
    async openDamageable(space) {
      const objects = objectsOf(space);
      return {
        driver: openMemory(`memory:${space}`, { objects }),
        async damage(key) {
          const bytes = objects.byKey.get(key)?.bytes as Uint8Array;
          const middle = bytes.length >>> 1;
          bytes[middle] = (bytes[middle] as number) ^ 1;
        },
      };
    },
    failures: [
      {
        when: "its capacity is used up",
        kind: "full",
        call: () => put(openMemory("memory:", { capacity: 99 }), "object", testBytes(100)),
      },
    ],
    stop: async () => {},
  };
}

describeDriver("memory", memoryHarness());

describe("the driver memory besides", () => {
  it("stamps objects by the clock that it is given", async () => {
    const driver = openMemory("memory:", { now: () => 1_700_000_000_000 });
    await put(driver, "object", testBytes(1));
    assert.deepEqual((await driver.list("")).objects, [{ key: "object", size: 1, lastModified: new Date(1_700_000_000_000) }]);
  });

  it("has room again when something is deleted", async () => {
    const driver = openMemory("memory:", { capacity: 100 });
    await put(driver, "one", testBytes(60));
    await rejectsWith("full", put(driver, "two", testBytes(60)));
    await driver.delete("one");
    assert.equal(await put(driver, "two", testBytes(60)), true);
  });

  it("lists keys in the order of their UTF-8 bytes, which isn't JavaScript's", async () => {
    const driver = openMemory();
    for (const key of ["\u{1F600}", "\uFF5E", "é", "z"]) await put(driver, key);
    assert.deepEqual(
      (await driver.list("")).objects.map(({ key }) => key),
      ["z", "é", "\uFF5E", "\u{1F600}"],
    );
  });

  for (const key of ["", "/a", "a/", "a//b", "a/../b", ".", "a\0b", "x".repeat(256), "\uD800", `${"a/".repeat(512)}a`]) {
    it(`refuses the key ${JSON.stringify(key).slice(0, 20)}, which another store couldn't hold`, async () => {
      await rejectsWith("failed", put(openMemory(), key));
    });
  }
});
