import assert from "node:assert/strict";
import { createArtifacts } from "../../src/artifacts/artifacts.ts";
import { crc32c } from "../../src/lib/crc32c.ts";
import type { Driver } from "../../src/store/driver.ts";
import { openMemory } from "../../src/store/drivers/memory.ts";
import { failsWith, PROJECT, servers, show, upload } from "../support/domain.ts";

describe("opening a store", () => {
  it("makes an empty one ours, and knows it again", async () => {
    const all = servers();
    await upload(await all.open(), { run: "r" }, { a: "1" });
    assert.deepEqual(await show(await all.open(), { run: "r" }), { a: "1" });
    assert.equal(all.store.keys.filter((key) => key.startsWith(".format/")).length, 1);
  });

  it("may be done by many at once", async () => {
    const all = servers();
    await Promise.all(Array.from({ length: 8 }, () => all.open()));
  });

  it("refuses a layout that it doesn't know, and says which version that is", async () => {
    const driver = openMemory();
    await driver.putIfAbsent(".format/7", [], { crc32c: crc32c(new Uint8Array()) });
    await assert.rejects(createArtifacts(driver), (error: Error) => failsWith("FORMAT_UNKNOWN")(error) && /format 7/.test(error.message));
  });

  it("refuses a store that ignores conditions", async () => {
    const inner = openMemory();
    const careless: Driver = {
      name: "careless",
      readBytes: inner.readBytes,
      async putIfAbsent(key, body, options) {
        await inner.delete(key);
        return inner.putIfAbsent(key, body, options);
      },
      read: (key, range, options) => inner.read(key, range, options),
      list: (prefix, options) => inner.list(prefix, options),
      delete: (key, options) => inner.delete(key, options),
      close: () => inner.close(),
    };
    await assert.rejects(createArtifacts(careless), /overwrites objects although it is told not to/);
  });

  it("claims names for servers that no run had before", async () => {
    const server = await servers().open({ random: () => 0 });
    const names = [await server.claimRun(PROJECT), await server.claimRun(PROJECT)];
    assert.deepEqual(names, ["able-alpaca-1", "able-alpaca-2"]);
  });
});
