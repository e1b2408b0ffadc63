/** What layers show together. */
import type { Manifest } from "../../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { LruCache } from "../../lib/lru-cache.ts";
import { comparePaths, isWithin } from "../../lib/paths.ts";
import type { Entry } from "../types.ts";
import { type Layer, openLayer, type Totals } from "./layer.ts";
import { after, type Before, type CursorOptions, past, type ReadAhead, to } from "./layer-cursor.ts";
import { MergedCursor } from "./merged-cursor.ts";
import { countOnto, countTotals } from "./totals.ts";
import type { LayerEntry, ObjectReader, StoredEntry } from "./types.ts";

/** Entries in one batch. */
const BATCH = 512;
/** Blocks of a layer that are read ahead, half a MiB: at a store that takes 20 ms to answer, some 300,000 entries a second. */
const BLOCKS_AHEAD = 8;
/** Totals of paths that a view keeps. */
const KEPT_TOTALS = 64;

export interface EntriesQuery {
  /** Only this entry and what is in it; empty for everything. */
  readonly path?: string;
  /** Only entries behind this path. */
  readonly startAfter?: string;
  /** Only entries up to this path, itself included. */
  readonly endAt?: string;
  readonly signal?: AbortSignal;
}

export interface View {
  /** Entries in order, in batches. */
  entries(query: EntriesQuery): AsyncGenerator<readonly StoredEntry[], void, undefined>;
  /**
   * What is right in a folder and, in the order of paths, behind `startAfter`; folders without an entry of their own included. Of what
   * lies deeper, only blocks are read that a folder begins or ends in.
   */
  children(folder: string, query?: { startAfter?: string; signal?: AbortSignal }): AsyncGenerator<readonly Entry[], void, undefined>;
  get(path: string): Promise<StoredEntry | undefined>;
  /** Whether there is an entry, or something in it. */
  exists(path: string): Promise<boolean>;
  /** Files and links under a path, and their bytes. */
  totals(path: string): Promise<Totals>;
}

export interface ViewOptions {
  /** The totals of what the layers from this one on, the older ones, show. */
  readonly knownTotals?: Totals & { readonly layersFromIndex: number };
  /** Indexes and blocks are read from the store, whatever is kept open. */
  readonly fresh?: boolean;
}

/** Opens the merge of layers, newest first. Indexes are read when they are first needed. */
export function openView(manifests: readonly Manifest[], reader: ObjectReader, options: ViewOptions = {}): View {
  let opened: Promise<readonly Layer[]> | undefined;
  const layers = () => {
    opened ??= Promise.all(manifests.map((manifest) => openLayer(manifest, reader, { fresh: options.fresh === true })));
    opened.catch(() => (opened = undefined));
    return opened;
  };
  const counted = new LruCache<string, Promise<Totals>>(KEPT_TOTALS);

  async function cursorAt(before: Before, beside: string, cursorOptions: CursorOptions = {}): Promise<MergedCursor> {
    const cursor = new MergedCursor(await layers(), cursorOptions);
    await cursor.seek(before, beside);
    return cursor;
  }

  async function count(path: string): Promise<Totals> {
    const all = await layers();
    const { knownTotals } = options;
    if (path !== "" || !knownTotals) return countTotals(all, path);
    return countOnto(all.slice(0, knownTotals.layersFromIndex), all.slice(knownTotals.layersFromIndex), knownTotals);
  }

  return {
    async *entries({ path = "", startAfter, endAt, signal }) {
      const ahead: ReadAhead = { wants: () => true, ends: (range) => isBehind(range.firstPath, path, endAt), limit: BLOCKS_AHEAD };
      // What comes first of the path itself and what lies behind `startAfter`.
      const later = startAfter !== undefined && comparePaths(startAfter, path) >= 0;
      const cursor = later
        ? await cursorAt(after(startAfter), startAfter, { signal, ahead })
        : await cursorAt(to(path), path, { signal, ahead });
      let batch: StoredEntry[] = [];
      while (isIn(cursor.current, path, endAt)) {
        batch.push(cursor.current as StoredEntry);
        const loading = cursor.next();
        if (batch.length === BATCH) {
          // Awaited below; a failure in the meantime is met there.
          loading?.catch(() => {});
          yield batch;
          batch = [];
          signal?.throwIfAborted();
        }
        if (loading) await loading;
      }
      if (batch.length > 0) yield batch;
    },

    async *children(folder, { startAfter = "", signal } = {}) {
      // A child that lies behind `startAfter` lies behind the child that this is in, too.
      const isInside = startAfter !== folder && isWithin(startAfter, folder);
      if (!isInside && comparePaths(startAfter, folder) > 0) return;
      const passed = isInside ? childOf(folder, startAfter) : undefined;
      const ahead: ReadAhead = {
        wants: ({ firstPath, lastPath }) =>
          childOf(folder, firstPath) === firstPath || childOf(folder, firstPath) !== childOf(folder, lastPath),
        ends: (range) => isBehind(range.firstPath, folder, undefined),
        limit: BLOCKS_AHEAD,
      };
      const cursor = passed
        ? await cursorAt(past(passed), passed, { signal, ahead })
        : await cursorAt(after(folder), folder, { signal, ahead });
      let batch: Entry[] = [];
      while (isIn(cursor.current, folder, undefined)) {
        const { current } = cursor;
        const path = childOf(folder, current.path);
        batch.push(current.path === path ? withoutExtents(current as StoredEntry) : { path, type: "folder" });
        if (batch.length === BATCH) {
          yield batch;
          batch = [];
          signal?.throwIfAborted();
        }
        const loading = current.path === path && current.type !== "folder" ? cursor.next() : cursor.skip(path);
        if (loading) await loading;
      }
      if (batch.length > 0) yield batch;
    },

    async get(path) {
      const { current } = await cursorAt(to(path), path);
      return current?.path === path ? (current as StoredEntry) : undefined;
    },

    async exists(path) {
      return isIn((await cursorAt(to(path), path)).current, path, undefined);
    },

    totals(path) {
      let totals = counted.get(path);
      if (!totals) {
        counted.set(path, (totals = count(path)));
        totals.catch(() => counted.delete(path));
      }
      return totals;
    },
  };
}

function isIn(entry: LayerEntry | undefined, path: string, endAt: string | undefined): entry is LayerEntry {
  return entry !== undefined && isWithin(entry.path, path) && (endAt === undefined || comparePaths(entry.path, endAt) <= 0);
}

/** Whether a path, and all that come after it, lie behind what is under another path and up to `endAt`. */
function isBehind(path: string, under: string, endAt: string | undefined): boolean {
  if (endAt !== undefined && comparePaths(path, endAt) > 0) return true;
  return comparePaths(path, under) > 0 && !isWithin(path, under);
}

/** What is right in a folder and leads to a path in it. */
export function childOf(folder: string, path: string): string {
  const slash = path.indexOf("/", folder === "" ? 0 : folder.length + 1);
  return slash < 0 ? path : path.slice(0, slash);
}

/** An entry as callers see it. */
export function withoutExtents({ extents: _, ...entry }: StoredEntry): Entry {
  return entry;
}
