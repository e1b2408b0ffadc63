/** Walks several layers forwards as the one that they make together. */
import { comparePaths, isWithin } from "../../lib/paths.ts";
import type { BlockRange, Layer } from "./layer.ts";
import { type Before, type CursorOptions, LayerCursor, past, to } from "./layer-cursor.ts";
import { covers, type LayerEntry } from "./types.ts";

export interface MergeOptions extends CursorOptions {
  /** Give traces too, as a merge needs that has older layers below it. */
  readonly keepTraces?: boolean;
}

/**
 * Layers are given newest first. Since a folder comes right before what is in it, an entry that hides what older layers have in it is met
 * before that, and they skip it; and what makes a folder of an older file is right ahead when the file is met.
 */
export class MergedCursor {
  readonly #cursors: readonly LayerCursor[];
  readonly #keepTraces: boolean;
  /** The entry that was come to last; the layers are behind it already. */
  current: LayerEntry | undefined;

  constructor(layers: readonly Layer[], options: MergeOptions = {}) {
    this.#cursors = layers.map((layer) => new LayerCursor(layer, options));
    this.#keepTraces = options.keepTraces === true;
  }

  /** Goes before the first entry that isn't before. `beside` is a path that may, or whose ancestors may, hide what comes. */
  async move(before: Before, beside: string): Promise<void> {
    await this.#hide(beside);
    await settled(this.#cursors.map((cursor) => cursor.seek(before)));
  }

  /** Comes to the first entry that isn't before, unless it is there already. */
  async seek(before: Before, beside: string): Promise<void> {
    if (this.current && !before(this.current.path)) return;
    await this.move(before, beside);
    await this.next();
  }

  /** Goes behind a folder that was just passed, with all that is in it, to the next entry. */
  async skip(folder: string): Promise<void> {
    await settled(this.#cursors.map((cursor) => cursor.seek(past(folder))));
    await this.next();
  }

  /** Comes to the next entry that can be seen; a promise only when a block has to be read. */
  next(): Promise<void> | undefined {
    for (;;) {
      const path = this.#smallest();
      if (path === undefined) {
        this.current = undefined;
        return undefined;
      }
      const loading = this.#loadAt(path);
      if (loading) return loading.then(() => this.next());
      const moving: Promise<void>[] = [];
      const seen = this.#pass(path, moving);
      if (moving.length > 0) {
        return settled(moving).then(() => {
          if (seen) this.current = seen;
          else return this.next();
        });
      }
      if (!seen) continue;
      this.current = seen;
      return undefined;
    }
  }

  /** Goes behind the next block and gives it, if all of it can be seen, nothing else lies in between, and the caller wants it. */
  takeBlock(wants: (range: BlockRange) => boolean): BlockRange | undefined {
    if (!this.#cursors.some((cursor) => cursor.wholeBlock)) return undefined;
    const path = this.#smallest();
    const cursor = this.#cursors.find((one) => one.path === path);
    const range = cursor?.wholeBlock;
    if (!cursor || !range || !wants(range)) return undefined;
    for (const other of this.#cursors) {
      if (other === cursor || other.path === undefined) continue;
      // In its last path: the block's last entry hides it, or is hidden by it.
      if (comparePaths(other.path, range.lastPath) <= 0 || isWithin(other.path, range.lastPath)) return undefined;
    }
    cursor.nextBlock();
    return range;
  }

  // Lets older layers skip what newer ones hide at a path or above it. There is nothing that the oldest one could hide.
  async #hide(path: string): Promise<void> {
    if (path === "" || this.#cursors.length < 2) return;
    for (let slash = path.indexOf("/"); ; slash = path.indexOf("/", slash + 1)) {
      const ancestor = slash < 0 ? path : path.slice(0, slash);
      for (const [layer, cursor] of this.#cursors.slice(0, -1).entries()) {
        await cursor.seek(to(ancestor));
        if (cursor.path !== ancestor) continue;
        await cursor.load();
        if (!cursor.entry || !covers(cursor.entry)) continue;
        await settled(this.#cursors.slice(layer + 1).map((older) => older.seek(past(ancestor))));
        break;
      }
      if (slash < 0) return;
    }
  }

  #smallest(): string | undefined {
    let smallest: string | undefined;
    for (const { path } of this.#cursors) {
      if (path !== undefined && (smallest === undefined || comparePaths(path, smallest) < 0)) smallest = path;
    }
    return smallest;
  }

  #loadAt(path: string): Promise<void> | undefined {
    let loading: Promise<void>[] | undefined;
    for (const cursor of this.#cursors) {
      const one = cursor.path === path ? cursor.load() : undefined;
      if (one) (loading ??= []).push(one);
    }
    return loading && settled(loading);
  }

  // Takes all layers behind a path, and gives what can be seen there.
  #pass(path: string, moving: Promise<void>[]): LayerEntry | undefined {
    let newest: LayerEntry | undefined;
    let visible = true;
    let covered = false;
    let replaced = false;
    for (const cursor of this.#cursors) {
      if (cursor.path !== path) {
        if (covered && cursor.path !== undefined && isWithin(cursor.path, path)) push(moving, cursor.seek(past(path)));
        // A newer layer that has something in it makes it a folder.
        else if (!newest && cursor.path !== undefined && isWithin(cursor.path, path)) visible = false;
        continue;
      }
      const entry = cursor.entry as LayerEntry;
      cursor.next();
      if (covered) {
        if (cursor.path !== undefined && isWithin(cursor.path, path)) push(moving, cursor.seek(past(path)));
        continue;
      }
      covered = covers(entry);
      if (newest) replaced = covered;
      newest ??= entry;
    }
    return newest && this.#shown(newest, visible, replaced);
  }

  #shown(entry: LayerEntry, visible: boolean, replaced: boolean): LayerEntry | undefined {
    if (entry.type === "folder") return withHiding(entry, this.#keepTraces && (replaced || entry.hidesOlder === true));
    if (visible && entry.type !== "trace") return entry;
    return this.#keepTraces ? { path: entry.path, type: "trace", extents: [] } : undefined;
  }
}

function push(moving: Promise<void>[], promise: Promise<void> | undefined): void {
  if (promise) moving.push(promise);
}

async function settled(moving: readonly (Promise<void> | undefined)[]): Promise<void> {
  await Promise.all(moving);
}

function withHiding(folder: LayerEntry, hidesOlder: boolean): LayerEntry {
  if (hidesOlder === (folder.hidesOlder === true)) return folder;
  const { hidesOlder: _, ...rest } = folder;
  return hidesOlder ? { ...rest, hidesOlder } : rest;
}
