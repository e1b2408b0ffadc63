/** Walks one layer forwards. */
import { comparePaths, isWithin } from "../../lib/paths.ts";
import type { Entries } from "./block-decoder.ts";
import type { BlockRange, Layer } from "./layer.ts";
import type { LayerEntry } from "./types.ts";

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

/** Which blocks will be read, as far as can be foreseen. */
export interface ReadAhead {
  /** Whether this block will be. */
  wants(range: BlockRange): boolean;
  /** Whether none of this block and of those behind it will be. */
  ends(range: BlockRange): boolean;
  /** Blocks that are being read at a time, at the most. */
  readonly limit: number;
}

export interface CursorOptions {
  readonly signal?: AbortSignal | undefined;
  /** Absent: nothing is read before it is needed. */
  readonly ahead?: ReadAhead | undefined;
}

type Loading = Entries | Promise<Entries>;

/** A block is read only when one of its entries is asked for: where it begins is known from the index. */
export class LayerCursor {
  readonly #layer: Layer;
  readonly #signal: AbortSignal | undefined;
  readonly #ahead: ReadAhead | undefined;
  /** Blocks that are read ahead. */
  readonly #loading = new Map<number, Loading>();
  #loads = 0;
  /** The first block that was not thought of reading ahead yet. */
  #planned = 0;
  #block = 0;
  #entries: Entries | undefined;
  #at = 0;
  /** The entry at the cursor, once it was asked for. */
  #entry: LayerEntry | undefined;
  /** The path of the entry where the cursor is; absent at the end. */
  path: string | undefined;

  constructor(layer: Layer, options: CursorOptions = {}) {
    this.#layer = layer;
    this.#signal = options.signal;
    this.#ahead = options.ahead;
    this.path = layer.blocks[0]?.firstPath;
  }

  /** The entry where the cursor is, once its block is loaded. */
  get entry(): LayerEntry | undefined {
    if (!this.#entries || this.#at >= this.#entries.length) return undefined;
    return (this.#entry ??= this.#entries.entry(this.#at));
  }

  /** The block, if the cursor is at its begin. */
  get wholeBlock(): BlockRange | undefined {
    return this.#at === 0 ? this.#layer.blocks[this.#block] : undefined;
  }

  /** Loads the block; `undefined` if it is there. */
  load(): Promise<void> | undefined {
    if (this.#entries || this.path === undefined) return undefined;
    const entries = this.#loading.get(this.#block) ?? this.#layer.block(this.#block, this.#signal);
    this.#loading.delete(this.#block);
    this.#loads++;
    this.#readAhead();
    if (!(entries instanceof Promise)) {
      this.#entries = entries;
      return undefined;
    }
    return entries.then((loaded) => {
      this.#entries = loaded;
    });
  }

  /** Goes to the next entry; the block must be loaded. */
  next(): void {
    this.#entry = undefined;
    if (this.#entries && ++this.#at < this.#entries.length) this.path = this.#entries.path(this.#at);
    else this.nextBlock();
  }

  nextBlock(): void {
    this.#open(this.#block + 1);
  }

  /** Goes to the first entry that isn't before; never backwards. */
  seek(before: Before): Promise<void> | undefined {
    if (this.path === undefined || !before(this.path)) return undefined;
    const { blocks } = this.#layer;
    let low = this.#block;
    let high = blocks.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (before((blocks[middle] as BlockRange).lastPath)) low = middle + 1;
      else high = middle;
    }
    if (low !== this.#block) this.#open(low);
    if (this.path === undefined || !before(this.path)) return undefined;
    const loading = this.load();
    return loading ? loading.then(() => this.#seekInBlock(before)) : this.#seekInBlock(before);
  }

  #open(block: number): void {
    for (const passed of this.#loading.keys()) if (passed < block) this.#loading.delete(passed);
    this.#block = block;
    this.#at = 0;
    this.#entry = undefined;
    this.#entries = undefined;
    this.path = this.#layer.blocks[block]?.firstPath;
  }

  #seekInBlock(before: Before): undefined {
    const entries = this.#entries as Entries;
    let low = this.#at;
    let high = entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (before(entries.path(middle))) low = middle + 1;
      else high = middle;
    }
    this.#at = low;
    this.#entry = undefined;
    this.path = low < entries.length ? entries.path(low) : undefined;
    return undefined;
  }

  // One block ahead of the first, two of the second and so on, since who reads much will likely read more.
  #readAhead(): void {
    const ahead = this.#ahead;
    if (!ahead) return;
    const { blocks } = this.#layer;
    this.#planned = Math.max(this.#planned, this.#block + 1);
    const limit = Math.min(ahead.limit, this.#loads);
    for (; this.#loading.size < limit && this.#planned < blocks.length; this.#planned++) {
      const range = blocks[this.#planned] as BlockRange;
      if (ahead.ends(range)) {
        this.#planned = blocks.length;
        return;
      }
      if (!ahead.wants(range)) continue;
      const loading = this.#layer.block(this.#planned, this.#signal);
      // A failure is met by who comes to the block, if anybody does.
      if (loading instanceof Promise) loading.catch(() => {});
      this.#loading.set(this.#planned, loading);
    }
  }
}
