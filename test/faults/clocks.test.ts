/** Clocks that jump: the order of things is in their numbers, and what is old is told by the store's clock. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { failsWith, PROJECT, sendFile, servers, show, upload } from "../support/domain.ts";

const HOUR = 3_600_000;
const YEAR = 365 * 24 * HOUR;
const JUMPS = [10 * YEAR, -20 * YEAR, 1, -1, 300 * YEAR, -50 * YEAR, 0];

describe("a clock that jumps", () => {
  it("of a server changes nothing but the times that are told", async () => {
    const all = servers({ now: () => Date.UTC(2026, 0, 1) });
    let i = 0;
    const open = () => all.open({ now: () => new Date(Date.UTC(2026, 0, 1) + (JUMPS[i++ % JUMPS.length] as number)) });
    const expected: Record<string, string> = {};
    for (let n = 0; n < 40; n++) {
      const server = await open();
      assert.equal((await upload(server, { run: "r" }, { [`f${n % 5}`]: String(n) })).commit, n + 1);
      expected[`f${n % 5}`] = String(n);
      assert.deepEqual(await show(await open(), { run: "r" }), expected);
    }
    await upload(await open(), { tag: "t" }, { a: "1" });
    await (await open()).deleteTag(PROJECT, "t");
    await upload(await open(), { tag: "t" }, { a: "2" });
    assert.deepEqual(await show(await open(), { tag: "t" }), { a: "2" });
  });

  it("of a server doesn't make garbage of what is at work", async () => {
    const all = servers({ now: () => Date.UTC(2026, 0, 1) });
    const server = await all.open();
    const session = await server.startUpload({ project: PROJECT, uploadId: randomUUID(), run: "r" });
    await sendFile(session, "a", "1");
    for (const jump of JUMPS) {
      const collector = await all.open({ now: () => new Date(Date.UTC(2026, 0, 1) + jump) });
      for await (const _ of collector.collectGarbage({ graceMs: HOUR }));
    }
    await session.finish({ files: 1, bytes: 1 });
    assert.deepEqual(await show(await all.open(), { run: "r" }), { a: "1" });
  });

  for (const [where, jump] of [
    ["forward", 10 * YEAR],
    ["back", -10 * YEAR],
  ] as const) {
    it(`of the store ${where} loses nothing that was acknowledged`, async () => {
      let now = Date.UTC(2026, 0, 1);
      const all = servers({ now: () => now });
      const server = await all.open();
      await upload(server, { run: "r" }, { a: "1" });
      const session = await server.startUpload({ project: PROJECT, uploadId: randomUUID(), run: "r" });
      await sendFile(session, "b", "2");
      for (let i = 0; i < 3; i++) {
        now += jump;
        for await (const _ of (await all.open()).collectGarbage({ graceMs: HOUR }));
        assert.deepEqual(await show(await all.open(), { run: "r" }), { a: "1" });
      }
      const finishing = session.finish({ files: 1, bytes: 1 });
      // For all that the store can tell, it was dead for ten years.
      if (jump > 0) await assert.rejects(finishing, failsWith("UPLOAD_GONE"));
      else await finishing;
      await upload(server, { run: "r" }, { c: "3" });
      assert.equal((await show(await all.open(), { run: "r" }))["c"], "3");
    });
  }
});
