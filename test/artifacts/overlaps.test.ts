/**
 * Garbage collection that had listed what is at work right before a copy or a tag began, and so condemned what these point at. The next
 * one must find them out.
 */
import assert from "node:assert/strict";
import type { Artifacts } from "../../src/artifacts/types.ts";
import { failsWith, PROJECT, servers, show, upload } from "../support/domain.ts";
import { holdFirst, puts } from "../support/intercepted-driver.ts";

const HOUR = 60 * 60 * 1000;

async function sweep(artifacts: Artifacts): Promise<void> {
  for await (const _ of artifacts.collectGarbage({ graceMs: HOUR }));
}

/** `begin` is held at its put of a matching key, and has not been seen by the collection that condemned what it points at. */
async function overlap<T>(begin: (server: Artifacts) => Promise<T>, heldAt: RegExp) {
  let now = Date.UTC(2026, 0, 1);
  const all = servers({ now: () => now });
  const other = await all.open();
  await upload(other, { run: "source" }, { a: "1" });
  await upload(other, { run: "other" }, { b: "2" });
  now += 2 * HOUR;

  const collector = await all.open();
  const marking = holdFirst(({ operation, key }) => operation === "list" && key === `${PROJECT}/tags/`);
  collector.driver.interceptor = marking.interceptor;
  const collecting = sweep(collector);
  await marking.reached;

  now += 1;
  const server = await all.open();
  const held = holdFirst(puts(heldAt));
  server.driver.interceptor = held.interceptor;
  const result = begin(server);
  result.catch(() => {});
  await held.reached;

  await other.deleteRun(PROJECT, "source");
  marking.release();
  await collecting;
  return {
    ...all,
    other,
    result,
    wake: held.release,
    async sweepAfter(ms: number) {
      now += ms;
      await sweep(await all.open());
    },
  };
}

const copying = (server: Artifacts) => server.copy({ project: PROJECT, source: { run: "source" }, sourcePath: "", run: "copy" });
const tagging = (server: Artifacts) => server.createTag(PROJECT, "t", { run: "source" });

describe("garbage collection that overlapped the begin", () => {
  it("of a copy spares its source while the copy lives", async () => {
    const world = await overlap(copying, /\/ended\//);
    // Condemned a grace period ago, to the millisecond; the copy was begun later.
    await world.sweepAfter(HOUR - 1);
    world.wake();
    await world.result;
    assert.deepEqual(await show(await world.open(), { run: "copy" }), { a: "1" });
  });

  it("of a copy refuses it when it is dead", async () => {
    const world = await overlap(copying, /\/ended\//);
    await world.sweepAfter(HOUR);
    world.wake();
    await assert.rejects(world.result, failsWith("UPLOAD_GONE"));
  });

  it("of a tag spares its run's data while the request lives", async () => {
    const world = await overlap(tagging, /\/tags\//);
    await world.sweepAfter(HOUR - 1);
    world.wake();
    await world.result;
    assert.deepEqual(await show(await world.open(), { tag: "t" }), { a: "1" });
  });

  for (const [what, sweeps] of [
    ["is dead", 1],
    ["is forgotten", 5],
  ] as const) {
    it(`of a tag refuses it when it ${what}, also where another one of its name came and went`, async () => {
      const world = await overlap(tagging, /\/tags\//);
      await world.other.createTag(PROJECT, "t", { run: "other" });
      for (let i = 0; i < sweeps; i++) await world.sweepAfter(i === 0 ? HOUR : 2 * HOUR);
      await world.other.deleteTag(PROJECT, "t");
      world.wake();
      await assert.rejects(world.result, failsWith("UPLOAD_GONE"));
      await assert.rejects(show(await world.open(), { tag: "t" }), failsWith("TAG_NOT_FOUND"));
    });
  }
});
