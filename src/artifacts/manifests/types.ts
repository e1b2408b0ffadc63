import type { ByteParts } from "../../store/driver.ts";
import type { Entry } from "../types.ts";

/** A stretch of a file in a data object. */
export interface StoredExtent {
  /** The object's key from `data/` on. */
  readonly object: string;
  readonly offset: number;
  readonly length: number;
  /** CRC32C of each MiB from the extent's start. */
  readonly crc32c: readonly number[];
}

/** An entry with where its bytes are. */
export interface StoredEntry extends Entry {
  readonly extents: readonly StoredExtent[];
}

/**
 * An entry of a layer. Besides what there is to see, a layer that was merged from several remembers where a file was that a newer entry
 * has made a folder: such a `trace`, or a folder that `hidesOlder`, hides what older layers have in it.
 */
export interface LayerEntry extends Omit<StoredEntry, "type"> {
  readonly type: StoredEntry["type"] | "trace";
  readonly hidesOlder?: boolean;
}

/** A checked stretch of an object. */
export interface StretchLocation {
  readonly key: string;
  readonly offset: bigint;
  readonly length: bigint;
  readonly crc32c: number;
}

export interface ObjectReader {
  /** The stretch, whole and of the right checksum. */
  read(location: StretchLocation, signal?: AbortSignal): Promise<Uint8Array>;
}

export interface ObjectWriter {
  /** Creates one new object, and gives its key from `data/` on. */
  put(parts: ByteParts, signal?: AbortSignal): Promise<string>;
}

/** Whether an entry hides what older layers have in the folder of its path. */
export function covers(entry: LayerEntry): boolean {
  return entry.type !== "folder" || entry.hidesOlder === true;
}

/** Whether it counts as a file. */
export function isCounted(entry: LayerEntry): boolean {
  return entry.type === "file" || entry.type === "link";
}
