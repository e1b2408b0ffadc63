/**
 * A server that sleeps at any one of its calls to the store, while others go on and garbage collection passes by, more than once. Whatever
 * it does when it wakes, what was acknowledged is there, and all that can be seen can be read.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { fromBinary } from "@bufbuild/protobuf";
import { CondemnedListSchema, LogEntrySchema, TagEntrySchema } from "../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { ArtifactsFailure } from "../../src/artifacts/errors.ts";
import type { Artifacts } from "../../src/artifacts/types.ts";
import { PROJECT, runNames, type Servers, servers, show, upload } from "../support/domain.ts";
import { failing, puts } from "../support/intercepted-driver.ts";

const HOUR = 60 * 60 * 1000;

interface World extends Servers {
  pass(ms: number): void;
  /** Lets time pass and garbage collection run, as often as it takes to remove what can be removed. */
  collect(): Promise<void>;
}

function newWorld(): World {
  let now = Date.UTC(2026, 0, 1);
  const all = servers({ now: () => now });
  return {
    ...all,
    pass: (ms) => void (now += ms),
    async collect() {
      for (let i = 0; i < 3; i++) {
        now += 2 * HOUR;
        await sweep(await all.open());
      }
    },
  };
}

async function sweep(artifacts: Artifacts): Promise<void> {
  for await (const _ of artifacts.collectGarbage({ graceMs: HOUR }));
}

/** Whoever made an entry of a log made one of it. */
function checkOnce({ store }: World): void {
  const made = new Set<string>();
  for (const key of store.keys) {
    if (!/\/(log|tags)\//.test(key)) continue;
    const { bytes } = store.byKey.get(key) as { bytes: Uint8Array };
    const { id } = key.includes("/log/") ? fromBinary(LogEntrySchema, bytes) : fromBinary(TagEntrySchema, bytes);
    const maker = `${key.slice(0, key.lastIndexOf("/"))} ${id}`;
    assert.ok(!made.has(maker), `${maker} twice`);
    made.add(maker);
  }
}

/** All that can be seen, read whole. */
async function lookAtAll(world: World) {
  checkOnce(world);
  const server = await world.open();
  const runs: Record<string, unknown> = {};
  for (const run of await runNames(server)) runs[run] = await show(server, { run });
  const tags: Record<string, unknown> = {};
  for (const { name } of (await server.listTags(PROJECT)).tags) tags[name] = await show(server, { tag: name });
  return { runs, tags, condemned: condemnedIn(world) };
}

/** The data objects that garbage collection is going to delete. */
function condemnedIn({ store }: World): string[] {
  return store.keys
    .filter((key) => key.includes("/gc/"))
    .flatMap((key) => fromBinary(CondemnedListSchema, (store.byKey.get(key) as { bytes: Uint8Array }).bytes).keys)
    .filter((key) => key.includes("/data/"));
}

type Outcome = { readonly done: true; readonly value: unknown } | { readonly done: false; readonly reason: string };

/** Refusals are fine, failures of the store aren't: it works. */
async function outcomeOf(work: Promise<unknown>): Promise<Outcome> {
  try {
    return { done: true, value: await work };
  } catch (error) {
    if (error instanceof ArtifactsFailure) return { done: false, reason: error.reason };
    throw error;
  }
}

interface Story<T> {
  setUp(world: World): Promise<T>;
  /** What the server does that sleeps. */
  sleeper(server: Artifacts, given: T): Promise<unknown>;
  /** What happens while it sleeps. */
  meanwhile(world: World, given: T): Promise<unknown>;
  check(seen: Awaited<ReturnType<typeof lookAtAll>>, slept: Outcome, meanwhile: Outcome, given: T): void;
}

/** Tells the story once for each call that the sleeper makes, until it makes no more. Gives how often. */
async function tell<T>(story: Story<T>): Promise<number> {
  for (let n = 1; ; n++) {
    const world = newWorld();
    const given = await story.setUp(world);
    const server = await world.open();
    let calls = 0;
    let wake = (): void => {};
    const awake = new Promise<void>((resolve) => (wake = resolve));
    let fallAsleep = (): void => {};
    const asleep = new Promise<void>((resolve) => (fallAsleep = resolve));
    server.driver.interceptor = {
      async before() {
        if (++calls !== n) return;
        fallAsleep();
        await awake;
      },
    };
    const sleeping = outcomeOf(story.sleeper(server, given));
    await Promise.race([asleep, sleeping]);
    if (calls < n) return n - 1;
    const meanwhile = await outcomeOf(story.meanwhile(world, given));
    wake();
    const slept = await sleeping;
    try {
      story.check(await lookAtAll(world), slept, meanwhile, given);
      await world.collect();
      story.check(await lookAtAll(world), slept, meanwhile, given);
    } catch (error) {
      throw new Error(`asleep at its call ${n}: ${JSON.stringify(server.driver.calls.at(n - 1))}, then ${JSON.stringify(slept)}`, {
        cause: error,
      });
    }
  }
}

/** An upload that was decided, whose server died before it was committed. */
async function dieFinished(world: World, target: { run?: string; tag?: string }): Promise<string> {
  const uploadId = randomUUID();
  const dying = await world.open();
  dying.driver.interceptor = failing(puts(target.tag ? /\/tags\// : /\/log\//));
  await assert.rejects(upload(dying, { ...target, uploadId }, { a: "finished" }), /broken off/);
  return uploadId;
}

const deleteAndCollect = async (world: World): Promise<void> => {
  await (await world.open()).deleteRun(PROJECT, "source");
  await world.collect();
};

const STORIES: Readonly<Record<string, Story<string>>> = {
  "an upload, while garbage collection takes it for dead": {
    setUp: async () => "",
    sleeper: (server) => upload(server, { run: "r" }, { a: "1" }),
    meanwhile: (world) => world.collect(),
    check: ({ runs }, slept) => assert.deepEqual(runs, slept.done ? { r: { a: "1" } } : {}),
  },
  "a tagged upload, while garbage collection takes it for dead, and its tag is set and removed": {
    setUp: async () => "",
    sleeper: (server) => upload(server, { tag: "t" }, { a: "mine" }),
    async meanwhile(world) {
      const other = await world.open();
      await upload(other, { run: "other" }, { a: "other" });
      await other.createTag(PROJECT, "t", { run: "other" });
      await world.collect();
      await other.deleteTag(PROJECT, "t");
    },
    check: ({ tags }, slept) => assert.deepEqual(tags, slept.done ? { t: { a: "mine" } } : {}),
  },
  "an upload that was finished and is tried again, while garbage collection takes it for dead": {
    setUp: (world) => dieFinished(world, { run: "r" }),
    sleeper: (server, uploadId) => upload(server, { run: "r", uploadId }, { a: "finished" }),
    meanwhile: (world) => world.collect(),
    check: ({ runs }, slept) => assert.deepEqual(runs, slept.done ? { r: { a: "finished" } } : {}),
  },
  "a tag that is made, while its run is deleted and collected": {
    setUp: async (world) => (await upload(await world.open(), { run: "source" }, { a: "1" })).run,
    sleeper: (server) => server.createTag(PROJECT, "t", { run: "source" }),
    meanwhile: deleteAndCollect,
    check: ({ tags }, slept) => assert.deepEqual(tags, slept.done ? { t: { a: "1" } } : {}),
  },
  "a tag that is made, while another one of its name comes and goes, and its run": {
    setUp: async (world) => (await upload(await world.open(), { run: "source" }, { a: "1" })).run,
    sleeper: (server) => server.createTag(PROJECT, "t", { run: "source" }),
    async meanwhile(world) {
      const other = await world.open();
      await upload(other, { run: "other" }, { a: "other" });
      await other.createTag(PROJECT, "t", { run: "other" });
      await deleteAndCollect(world);
      await other.deleteTag(PROJECT, "t");
    },
    check: ({ tags }, slept) => assert.deepEqual(tags, slept.done ? { t: { a: "1" } } : {}),
  },
  "a copy, while its source is deleted and collected": {
    setUp: async (world) => (await upload(await world.open(), { run: "source" }, { a: "1" })).run,
    sleeper: (server) => server.copy({ project: PROJECT, source: { run: "source" }, sourcePath: "", run: "copy" }),
    meanwhile: deleteAndCollect,
    check: ({ runs }, slept) => assert.deepEqual(runs, slept.done ? { copy: { a: "1" } } : {}),
  },
  "a copy of a tag's commit, while the tag is removed and all is collected": {
    async setUp(world) {
      const server = await world.open();
      await upload(server, { run: "source" }, { a: "1" });
      await server.createTag(PROJECT, "t", { run: "source" });
      return "";
    },
    sleeper: (server) => server.copy({ project: PROJECT, source: { tag: "t" }, sourcePath: "", run: "copy" }),
    async meanwhile(world) {
      await (await world.open()).deleteRun(PROJECT, "source", { force: true });
      await world.collect();
    },
    check: ({ runs }, slept) => assert.deepEqual(runs, slept.done ? { copy: { a: "1" } } : {}),
  },
  "a run's deletion, while it is uploaded to and tagged": {
    setUp: async (world) => (await upload(await world.open(), { run: "source" }, { a: "1" })).run,
    sleeper: (server) => server.deleteRun(PROJECT, "source", { force: true }),
    async meanwhile(world) {
      const other = await world.open();
      await other.createTag(PROJECT, "t", { run: "source" });
      await upload(other, { run: "source" }, { b: "2" });
      await world.collect();
    },
    check({ runs }, slept) {
      assert.ok(slept.done);
      assert.ok(!("source" in runs) || !("a" in (runs["source"] as object)) || "b" in (runs["source"] as object));
    },
  },
  "garbage collection, while an upload that it takes for dead is tried again": {
    async setUp(world) {
      const uploadId = await dieFinished(world, { run: "r" });
      world.pass(2 * HOUR);
      await sweep(await world.open());
      world.pass(2 * HOUR);
      return uploadId;
    },
    sleeper: sweep,
    meanwhile: async (world, uploadId) => upload(await world.open(), { run: "r", uploadId }, { a: "finished" }),
    check: ({ runs }, _, meanwhile) => assert.deepEqual(runs, meanwhile.done ? { r: { a: "finished" } } : {}),
  },
  "garbage collection, while it first meets an upload that is tried again": {
    async setUp(world) {
      const uploadId = await dieFinished(world, { run: "r" });
      world.pass(2 * HOUR);
      return uploadId;
    },
    sleeper: sweep,
    meanwhile: async (world, uploadId) => upload(await world.open(), { run: "r", uploadId }, { a: "finished" }),
    check({ runs, condemned }, _, meanwhile) {
      assert.deepEqual(runs, meanwhile.done ? { r: { a: "finished" } } : {});
      if (meanwhile.done) assert.deepEqual(condemned, []);
    },
  },
  "garbage collection, while the tag of an upload that it takes for dead is set by another": {
    async setUp(world) {
      await dieFinished(world, { tag: "t" });
      world.pass(2 * HOUR);
      return "";
    },
    sleeper: sweep,
    meanwhile: async (world) => upload(await world.open(), { tag: "t" }, { a: "other" }),
    check: ({ tags }, _, meanwhile) => assert.deepEqual(tags, meanwhile.done ? { t: { a: "other" } } : {}),
  },
  "garbage collection, while a copy and a tag are made of what is deleted then": {
    async setUp(world) {
      await upload(await world.open(), { run: "source" }, { a: "1" });
      world.pass(2 * HOUR);
      return "";
    },
    sleeper: sweep,
    async meanwhile(world) {
      const other = await world.open();
      await other.copy({ project: PROJECT, source: { run: "source" }, sourcePath: "", run: "copy" });
      await other.createTag(PROJECT, "t", { run: "source" });
      await other.deleteRun(PROJECT, "copy");
      await other.copy({ project: PROJECT, source: { tag: "t" }, sourcePath: "", run: "copy" });
      await other.deleteTag(PROJECT, "t");
      await other.deleteRun(PROJECT, "source");
    },
    check: ({ runs }) => assert.deepEqual(runs, { copy: { a: "1" } }),
  },
};

describe("whoever sleeps at any call to the store", () => {
  for (const [what, story] of Object.entries(STORIES)) {
    it(what, async () => {
      assert.ok((await tell(story)) >= 3, "it sleeps at each of its calls");
    });
  }

  it("a server that folds a run's view, while garbage collection takes the fold for dead", async () => {
    // Long names, so that the fold's manifest doesn't fit into its snapshot.
    const many = (kind: string) =>
      Object.fromEntries(Array.from({ length: 250 }, (_, i) => [`${"d".repeat(200)}/${kind.repeat(200)}/${"f".repeat(200)}${i}`, "x"]));
    const files = { ...many("a"), ...many("b") };
    for (let n = 1, reached = true; reached; n++) {
      const world = newWorld();
      const server = await world.open({ settings: { commitsPerSnapshot: 2 } });
      await upload(server, { run: "r" }, many("a"));
      let wake = (): void => {};
      const awake = new Promise<void>((resolve) => (wake = resolve));
      let asleep = (): void => {};
      const sleeping = new Promise<void>((resolve) => (asleep = resolve));
      reached = false;
      let folding = 0;
      server.driver.interceptor = {
        async before({ key }) {
          if (!/snapshots|fold\./.test(key) || ++folding !== n) return;
          reached = true;
          asleep();
          await awake;
        },
      };
      await upload(server, { run: "r" }, many("b"));
      const closed = server.close();
      await Promise.race([sleeping, closed]);
      if (!reached) assert.ok(n > 2, "the fold puts blocks and a snapshot");
      await world.collect();
      wake();
      await closed;
      await world.collect();
      assert.deepEqual((await lookAtAll(world)).runs, { r: files }, `asleep at call ${n} of the fold`);
    }
  });
});
