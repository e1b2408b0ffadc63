/** What layers show together. */
import type { Manifest } from "../../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { comparePaths, isWithin } from "../../lib/paths.ts";
import type { Entry } from "../types.ts";
import { after, type Before, MergedCursor, past, to } from "./cursor.ts";
import { type Layer, openLayer, type Totals } from "./layer.ts";
import { countTotals } from "./totals.ts";
import type { LayerEntry, ObjectReader, StoredEntry } from "./types.ts";

/** Entries in one batch. */
const BATCH = 512;

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
  /** What is right in a folder, in order; folders without an entry of their own included. What lies deeper is not read. */
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
}

/** Opens the merge of layers, newest first. Indexes are read when they are first needed. */
export function openView(manifests: readonly Manifest[], reader: ObjectReader, options: ViewOptions = {}): View {
  let opened: Promise<readonly Layer[]> | undefined;
  const layers = () => {
    opened ??= Promise.all(manifests.map((manifest) => openLayer(manifest, reader)));
    opened.catch(() => (opened = undefined));
    return opened;
  };
  const known = new Map<string, Promise<Totals>>();

  async function cursorAt(before: Before, beside: string, signal?: AbortSignal): Promise<MergedCursor> {
    const cursor = new MergedCursor(await layers(), { signal });
    await cursor.seek(before, beside);
    return cursor;
  }

  return {
    async *entries({ path = "", startAfter, endAt, signal }) {
      // What comes first of the path itself and what lies behind `startAfter`.
      const later = startAfter !== undefined && comparePaths(startAfter, path) >= 0;
      const cursor = later ? await cursorAt(after(startAfter), startAfter, signal) : await cursorAt(to(path), path, signal);
      let batch: StoredEntry[] = [];
      for (; isIn(cursor.current, path, endAt); await cursor.next()) {
        batch.push(cursor.current as StoredEntry);
        if (batch.length < BATCH) continue;
        signal?.throwIfAborted();
        yield batch;
        batch = [];
      }
      if (batch.length > 0) yield batch;
    },

    async *children(folder, { startAfter, signal } = {}) {
      const cursor = startAfter ? await cursorAt(past(startAfter), startAfter, signal) : await cursorAt(after(folder), folder, signal);
      let batch: Entry[] = [];
      while (isIn(cursor.current, folder, undefined)) {
        const child = childOf(folder, cursor.current);
        const { current } = cursor;
        if (current.path === child) {
          const { extents: _, ...entry } = current as StoredEntry;
          batch.push(entry);
        } else {
          batch.push({ path: child, type: "folder" });
        }
        if (current.path === child && current.type !== "folder") await cursor.next();
        else await cursor.skip(child);
        if (batch.length < BATCH) continue;
        signal?.throwIfAborted();
        yield batch;
        batch = [];
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
      let totals = known.get(path);
      if (!totals) {
        known.set(path, (totals = layers().then((all) => countTotals(all, path, options.knownTotals))));
        totals.catch(() => known.delete(path));
      }
      return totals;
    },
  };
}

function isIn(entry: LayerEntry | undefined, path: string, endAt: string | undefined): entry is LayerEntry {
  return entry !== undefined && isWithin(entry.path, path) && (endAt === undefined || comparePaths(entry.path, endAt) <= 0);
}

function childOf(folder: string, { path }: LayerEntry): string {
  const slash = path.indexOf("/", folder === "" ? 0 : folder.length + 1);
  return slash < 0 ? path : path.slice(0, slash);
}
