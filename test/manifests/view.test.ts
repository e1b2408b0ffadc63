import assert from "node:assert/strict";
import fc from "fast-check";
import type { Manifest, Snapshot } from "../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { foldSnapshot, openView, type StoredEntry, type View } from "../../src/artifacts/manifests/index.ts";
import { comparePaths, isWithin } from "../../src/lib/paths.ts";
import {
  anyCommit,
  anyPath,
  collect,
  fileEntry,
  folderEntry,
  manifestOf,
  memoryObjects,
  modelChildren,
  modelOf,
  type Objects,
  pathsOf,
  TINY,
  totalsOf,
} from "./support.ts";

/** Random histories that are tried. */
const HISTORIES = Number(process.env.DSTACK_ARTIFACTS_VIEW_HISTORIES ?? 150);

async function layersOf(commits: readonly (readonly StoredEntry[])[], objects: Objects): Promise<Manifest[]> {
  const layers: Manifest[] = [];
  for (const commit of commits) layers.unshift(await manifestOf(commit, objects, { limits: TINY, heldBytes: 1500 }));
  return layers;
}

/** Folds each time as many commits came as the next of `steps` says; what is left stays unfolded. */
async function foldedView(commits: readonly (readonly StoredEntry[])[], steps: readonly number[], objects: Objects): Promise<View> {
  const waiting = (await layersOf(commits, objects)).reverse();
  let previous: Snapshot | undefined;
  for (const step of steps) {
    const newer = waiting.splice(0, step).reverse();
    if (newer.length === 0) break;
    previous = await foldSnapshot({ ...(previous ? { previous } : {}), newer, deletedSeq: 0 }, objects, objects, TINY);
  }
  const newer = waiting.reverse();
  const knownTotals = previous && { layersFromIndex: newer.length, files: Number(previous.files), bytes: Number(previous.bytes) };
  return openView([...newer, ...(previous?.layers ?? [])], objects, knownTotals ? { knownTotals } : {});
}

async function assertShows(view: View, seen: readonly StoredEntry[], path: string, startAfter: string, endAt: string): Promise<void> {
  const under = seen.filter((entry) => isWithin(entry.path, path));
  const between = under.filter((entry) => comparePaths(entry.path, startAfter) > 0 && comparePaths(entry.path, endAt) <= 0);
  assert.deepEqual(await collect(view.entries({})), seen);
  assert.deepEqual(await collect(view.entries({ path })), under);
  assert.deepEqual(await collect(view.entries({ path, startAfter, endAt })), between);
  const children = modelChildren(seen, path);
  assert.deepEqual(await collect(view.children(path)), children);
  // A child that a page ended with, or any other path.
  for (const after of [startAfter, ...children.map((child) => child.path)]) {
    const rest = children.filter((child) => comparePaths(child.path, after) > 0);
    assert.deepEqual(await collect(view.children(path, { startAfter: after })), rest);
  }
  assert.deepEqual(
    await view.get(path),
    seen.find((entry) => entry.path === path),
  );
  assert.equal(await view.exists(path), under.length > 0);
  assert.deepEqual(await view.totals(path), totalsOf(under));
  assert.deepEqual(await view.totals(""), totalsOf(seen));
}

describe("a view of any layers", () => {
  const histories = fc.array(anyCommit, { minLength: 1, maxLength: 6 });
  const pathOrRoot = fc.oneof({ weight: 1, arbitrary: fc.constant("") }, { weight: 5, arbitrary: anyPath });

  it("shows what the commits leave when they are made one after the other", async () => {
    await fc.assert(
      fc.asyncProperty(histories, pathOrRoot, anyPath, anyPath, async (commits, path, startAfter, endAt) => {
        const objects = memoryObjects();
        const view = openView(await layersOf(commits, objects), objects);
        await assertShows(view, modelOf(commits), path, startAfter, endAt);
      }),
      { numRuns: HISTORIES },
    );
  });

  it("shows the same when they are folded now and then", async () => {
    const steps = fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(histories, steps, pathOrRoot, anyPath, anyPath, async (commits, folds, path, startAfter, endAt) => {
        const view = await foldedView(commits, folds, memoryObjects());
        await assertShows(view, modelOf(commits), path, startAfter, endAt);
      }),
      { numRuns: HISTORIES },
    );
  });
});

describe("a view of several layers", () => {
  for (const [name, commits, shown] of [
    ["shows the newest of one path", [[fileEntry("a", 1)], [fileEntry("a", 2)]], ["a 2"]],
    ["hides what is in a folder that has become a file", [[fileEntry("a/x"), fileEntry("a/y/z")], [fileEntry("a", 2)]], ["a 2"]],
    ["hides a file that has become a folder", [[fileEntry("a"), fileEntry("b", 3)], [fileEntry("a/x", 2)]], ["a/x 2", "b 3"]],
    ["hides a file whose path is a folder's now", [[fileEntry("a")], [folderEntry("a")]], ["a folder"]],
    ["keeps what is in a folder that is sent again", [[fileEntry("a/x", 1)], [folderEntry("a")]], ["a folder", "a/x 1"]],
    [
      "doesn't bring back what was in a folder before it was a file",
      [[fileEntry("a/x")], [fileEntry("a")], [fileEntry("a/y", 2)]],
      ["a/y 2"],
    ],
    ["doesn't bring back a folder's own entry either", [[folderEntry("a")], [fileEntry("a")], [fileEntry("a/y", 2)]], ["a/y 2"]],
  ] as const) {
    it(name, async () => {
      const objects = memoryObjects();
      const view = openView(await layersOf(commits, objects), objects);
      const entries = await collect(view.entries({}));
      assert.deepEqual(
        entries.map((entry) => `${entry.path} ${entry.size ?? entry.type}`),
        shown,
      );
    });
  }

  it("matches whole segments only", async () => {
    const objects = memoryObjects();
    const view = openView(await layersOf([[fileEntry("out-1"), fileEntry("output/x"), fileEntry("out/y")]], objects), objects);
    assert.deepEqual(
      (await collect(view.entries({ path: "out" }))).map((entry) => entry.path),
      ["out/y"],
    );
    assert.equal(await view.exists("outp"), false);
    assert.deepEqual(await pathsOf(view), ["out/y", "out-1", "output/x"]);
  });
});
