/** Walks a layer, or several as one, forwards. */
import { comparePaths, isWithin } from "../../lib/paths.ts";
import type { Layer } from "./layer.ts";
import { covers, type LayerEntry } from "./types.ts";

/** Where to go: true for the paths that lie before that, in the order of paths. */
export type Before = (path: string) => boolean;

export const to =
  (path: string): Before =>
  (other) =>
    comparePaths(other, path) < 0;
export const after =
  (path: string): Before =>
  (other) =>
    comparePaths(other, path) <= 0;
/** Behind a path and all that is in it. */
export const past =
  (path: string): Before =>
  (other) =>
    comparePaths(other, path) <= 0 || isWithin(other, path);

function withHiding(folder: LayerEntry, hidesOlder: boolean): LayerEntry {
  if (hidesOlder === (folder.hidesOlder === true)) return folder;
  const { hidesOlder: _, ...rest } = folder;
  return hidesOlder ? { ...rest, hidesOlder } : rest;
}

/** Walks one layer. Steps are synchronous but where a block has to be read. */
export class LayerCursor {
  readonly #layer: Layer;
  readonly #signal: AbortSignal | undefined;
  #block = -1;
  #entries: readonly LayerEntry[] = [];
  #at = 0;
  current: LayerEntry | undefined;

  constructor(layer: Layer, signal?: AbortSignal) {
    this.#layer = layer;
    this.#signal = signal;
  }

  /** Goes to the first entry that isn't before; never backwards. */
  seek(before: Before): Promise<void> | undefined {
    if (this.current && !before(this.current.path)) return undefined;
    const { blocks } = this.#layer;
    let low = Math.max(0, this.#block);
    let high = blocks.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (before((blocks[middle] as { lastPath: string }).lastPath)) low = middle + 1;
      else high = middle;
    }
    if (low === this.#block) return this.#seekInBlock(before);
    return this.#open(low, before);
  }

  next(): Promise<void> | undefined {
    this.current = this.#entries[++this.#at];
    return this.current || this.#block >= this.#layer.blocks.length ? undefined : this.#open(this.#block + 1, () => false);
  }

  #open(block: number, before: Before): Promise<void> | undefined {
    this.#block = block;
    this.#at = 0;
    if (block >= this.#layer.blocks.length) {
      this.#entries = [];
      this.current = undefined;
      return undefined;
    }
    const entries = this.#layer.block(block, this.#signal);
    if (!(entries instanceof Promise)) {
      this.#entries = entries;
      return this.#seekInBlock(before);
    }
    return entries.then((loaded) => {
      this.#entries = loaded;
      return this.#seekInBlock(before);
    });
  }

  #seekInBlock(before: Before): undefined {
    let low = this.#at;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (before((this.#entries[middle] as LayerEntry).path)) low = middle + 1;
      else high = middle;
    }
    this.#at = low;
    this.current = this.#entries[low];
    return undefined;
  }
}

interface Cover {
  readonly path: string;
  /** The newest layer that hides what older ones have in `path`. */
  readonly layer: number;
}

/**
 * Walks layers, newest first, as their merge.
 *
 * Since a folder comes right before what is in it, what hides an entry is either an ancestor that was passed (`#covers`), or right
 * ahead in a newer layer.
 */
export class MergedCursor {
  readonly #cursors: readonly LayerCursor[];
  readonly #keepTraces: boolean;
  #covers: Cover[] = [];
  current: LayerEntry | undefined;

  /** `keepTraces`: give traces too, as a merge needs that has older layers below it. */
  constructor(layers: readonly Layer[], options: { keepTraces?: boolean; signal?: AbortSignal | undefined } = {}) {
    this.#cursors = layers.map((layer) => new LayerCursor(layer, options.signal));
    this.#keepTraces = options.keepTraces === true;
  }

  /** Goes to the first entry that isn't before. `beside` is a path whose ancestors, and itself, may hide what comes. */
  async seek(before: Before, beside: string): Promise<void> {
    if (this.#cursors.length > 1) await this.#findCovers(beside);
    for (const cursor of this.#cursors) {
      const loading = cursor.seek(before);
      if (loading) await loading;
    }
    await this.#settle();
  }

  /** Goes behind a folder that was just passed, with all that is in it. */
  async skip(folder: string): Promise<void> {
    const before = past(folder);
    for (const cursor of this.#cursors) {
      const loading = cursor.seek(before);
      if (loading) await loading;
    }
    await this.#settle();
  }

  next(): Promise<void> {
    return this.#settle();
  }

  async #findCovers(path: string): Promise<void> {
    this.#covers = [];
    if (path === "") return;
    const segments = path.split("/");
    for (let depth = 1; depth <= segments.length; depth++) {
      const ancestor = segments.slice(0, depth).join("/");
      const before = to(ancestor);
      for (const [layer, cursor] of this.#cursors.entries()) {
        const loading = cursor.seek(before);
        if (loading) await loading;
        if (cursor.current?.path !== ancestor || !covers(cursor.current)) continue;
        this.#covers.push({ path: ancestor, layer });
        break;
      }
    }
  }

  // Goes on to the next entry that can be seen.
  async #settle(): Promise<void> {
    for (;;) {
      const path = this.#smallest();
      if (path === undefined) {
        this.current = undefined;
        return;
      }
      const found = this.#decide(path);
      for (const cursor of this.#cursors) {
        if (cursor.current?.path !== path) continue;
        const loading = cursor.next();
        if (loading) await loading;
      }
      if (!found) continue;
      const seen = this.#visible(found.entry, found.layer, found.older);
      if (!seen) continue;
      this.current = seen;
      return;
    }
  }

  #smallest(): string | undefined {
    let smallest: string | undefined;
    for (const { current } of this.#cursors) {
      if (current && (smallest === undefined || comparePaths(current.path, smallest) < 0)) smallest = current.path;
    }
    return smallest;
  }

  // The newest entry at a path, unless an ancestor in a newer layer hides it, and whether one there covers what is older.
  #decide(path: string): { entry: LayerEntry; layer: number; older: boolean } | undefined {
    while (this.#covers.length > 0 && !isWithin(path, (this.#covers.at(-1) as Cover).path)) this.#covers.pop();
    const hiddenFrom = this.#covers.reduce(
      (least, cover) => (cover.path === path ? least : Math.min(least, cover.layer)),
      Number.POSITIVE_INFINITY,
    );
    let newest: { entry: LayerEntry; layer: number; older: boolean } | undefined;
    let covered = false;
    for (const [layer, { current }] of this.#cursors.entries()) {
      if (current?.path !== path || layer > hiddenFrom) continue;
      if (!newest) newest = { entry: current, layer, older: false };
      else if (covers(current)) newest.older = true;
      if (covered || !covers(current)) continue;
      covered = true;
      if (this.#cursors.length > 1) this.#covers.push({ path, layer });
    }
    return newest;
  }

  #visible(entry: LayerEntry, layer: number, older: boolean): LayerEntry | undefined {
    if (entry.type === "trace") return this.#keepTraces ? entry : undefined;
    if (entry.type === "folder") return withHiding(entry, this.#keepTraces && (older || entry.hidesOlder === true));
    for (let newer = 0; newer < layer; newer++) {
      const ahead = this.#cursors[newer]?.current;
      if (!ahead || !isWithin(ahead.path, entry.path)) continue;
      return this.#keepTraces ? { path: entry.path, type: "trace", extents: [] } : undefined;
    }
    return entry;
  }
}
