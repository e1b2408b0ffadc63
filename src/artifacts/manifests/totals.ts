/** Counts what layers show, from their indexes as far as they go. */
import { isWithin } from "../../lib/paths.ts";
import type { Layer, Totals } from "./layer.ts";
import { to } from "./layer-cursor.ts";
import { MergedCursor } from "./merged-cursor.ts";
import { covers, isCounted, type LayerEntry } from "./types.ts";

/** Files and links under a path, and their bytes. Blocks that no other layer has anything in are not read. */
export async function countTotals(layers: readonly Layer[], path: string): Promise<Totals> {
  const totals = { files: 0, bytes: 0 };
  const cursor = new MergedCursor(layers);
  await cursor.move(to(path), path);
  for (;;) {
    const block = cursor.takeBlock((range) => isWithin(range.lastPath, path));
    if (block) {
      totals.files += block.files;
      totals.bytes += block.bytes;
      continue;
    }
    const loading = cursor.next();
    if (loading) await loading;
    if (!cursor.current || !isWithin(cursor.current.path, path)) return totals;
    count(totals, cursor.current, 1);
  }
}

/** What all layers show, if it is known what the older ones show: reads the newer ones, and of the older ones what these hide. */
export async function countOnto(newer: readonly Layer[], older: readonly Layer[], known: Totals): Promise<Totals> {
  const totals = { files: known.files, bytes: known.bytes };
  if (newer.length === 0) return totals;
  const above = new MergedCursor(newer, { keepTraces: true });
  const below = new MergedCursor(older);
  let previous: string | undefined;
  let covered: string | undefined;
  for (await above.next(); above.current; await above.next()) {
    const entry = above.current;
    count(totals, entry, 1);
    // What was in this folder is counted off already.
    if (covered !== undefined && isWithin(entry.path, covered)) continue;
    for (const place of placesFrom(entry.path, previous)) {
      await below.seek(to(place), place);
      if (below.current?.path === place) count(totals, below.current, -1);
    }
    previous = entry.path;
    if (!covers(entry)) continue;
    covered = entry.path;
    if (below.current?.path === covered) await below.next();
    if (!below.current || !isWithin(below.current.path, covered)) continue;
    const inside = await countTotals(older, covered);
    totals.files -= inside.files;
    totals.bytes -= inside.bytes;
  }
  return totals;
}

function count(totals: { files: number; bytes: number }, entry: LayerEntry, sign: number): void {
  if (!isCounted(entry)) return;
  totals.files += sign;
  totals.bytes += sign * (entry.size ?? 0);
}

// The path and those of its ancestors that the path before didn't have, from the top: where a file may be that is a folder now.
function* placesFrom(path: string, before: string | undefined): Generator<string, void, undefined> {
  for (let slash = path.indexOf("/"); slash > 0; slash = path.indexOf("/", slash + 1)) {
    const ancestor = path.slice(0, slash);
    if (before === undefined || !isWithin(before, ancestor)) yield ancestor;
  }
  yield path;
}
