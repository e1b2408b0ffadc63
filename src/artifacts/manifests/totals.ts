/** Counts what layers show, from their indexes and from what the newer ones hide of the older ones. */
import { isWithin } from "../../lib/paths.ts";
import { MergedCursor, to } from "./cursor.ts";
import { type Layer, layerTotals, type Totals } from "./layer.ts";
import { covers, isCounted, type LayerEntry } from "./types.ts";

const NOTHING: Totals = { files: 0, bytes: 0 };

/** Files under a path. `known` are the totals of everything that the layers from an index on show. */
export async function countTotals(
  layers: readonly Layer[],
  path: string,
  known?: Totals & { readonly layersFromIndex: number },
): Promise<Totals> {
  const [newest, ...older] = layers;
  if (!newest) return NOTHING;
  if (known?.layersFromIndex === 0 && path === "") return known;
  const below = known && { ...known, layersFromIndex: known.layersFromIndex - 1 };
  const under = await countTotals(older, path, below && below.layersFromIndex >= 0 ? below : undefined);
  const added = await layerTotals(newest, path);
  const lost = under.files === 0 ? NOTHING : await hidden(newest, older, path, under);
  return { files: under.files + added.files - lost.files, bytes: under.bytes + added.bytes - lost.bytes };
}

// What a layer hides of the older ones under a path.
async function hidden(layer: Layer, older: readonly Layer[], path: string, under: Totals): Promise<Totals> {
  if (path !== "" && (await coversAncestor(layer, path))) return under;
  const lost = { files: 0, bytes: 0 };
  const newer = new MergedCursor([layer], { keepTraces: true });
  const below = new MergedCursor(older);
  await newer.seek(to(path), path);
  let at: LayerEntry | undefined;
  let covered: string | undefined;
  const lose = (entry: LayerEntry) => {
    lost.files++;
    lost.bytes += entry.size ?? 0;
  };
  // Both are walked forwards; what is lost at a path, above it or in it is found where they meet.
  for (; newer.current && isWithin(newer.current.path, path); await newer.next()) {
    const entry = newer.current;
    if (covered !== undefined && isWithin(entry.path, covered)) continue;
    for (const place of placesFrom(path, entry.path, at?.path)) {
      await below.seek(to(place), place);
      const { current } = below;
      if (current?.path === place && isCounted(current)) lose(current);
    }
    at = entry;
    if (!covers(entry)) continue;
    covered = entry.path;
    const inside = await countTotals(older, entry.path);
    const { current } = below;
    const itself = current?.path === entry.path && isCounted(current) ? { files: 1, bytes: current.size ?? 0 } : NOTHING;
    lost.files += inside.files - itself.files;
    lost.bytes += inside.bytes - itself.bytes;
  }
  return lost;
}

async function coversAncestor(layer: Layer, path: string): Promise<boolean> {
  const cursor = new MergedCursor([layer], { keepTraces: true });
  const segments = path.split("/");
  for (let depth = 1; depth < segments.length; depth++) {
    const ancestor = segments.slice(0, depth).join("/");
    await cursor.seek(to(ancestor), ancestor);
    if (cursor.current?.path === ancestor && covers(cursor.current)) return true;
  }
  return false;
}

// The path and its ancestors under `root` that the one before didn't have, from the top.
function* placesFrom(root: string, path: string, before: string | undefined): Generator<string> {
  let slash = root === "" ? path.indexOf("/") : path.indexOf("/", root.length + 1);
  for (; slash > 0; slash = path.indexOf("/", slash + 1)) {
    const ancestor = path.slice(0, slash);
    if (before === undefined || !isWithin(before, ancestor)) yield ancestor;
  }
  yield path;
}
