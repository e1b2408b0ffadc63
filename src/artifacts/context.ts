/** What the parts of this room share. */

import type { RunLog } from "./log.ts";
import type { ObjectReader, ObjectWriter } from "./manifests/index.ts";
import type { Objects } from "./objects.ts";
import type { TagLog } from "./tags.ts";
import type { KeptPersisted } from "./uploads/kept-persisted.ts";
import type { MemoryBudget } from "./uploads/memory-budget.ts";
import type { Views } from "./views.ts";

export interface Context {
  readonly objects: Objects;
  readonly log: RunLog;
  readonly tags: TagLog;
  readonly views: Views;
  readonly uploadBudget: MemoryBudget;
  readonly persisted: KeptPersisted;
  readonly settings: Settings;
  /** The server's clock. */
  readonly now: () => Date;
  /** From 0 up to 1. */
  readonly random: () => number;
  /** Runs one task at a time for each key. */
  lock<T>(key: string, task: () => Promise<T>): Promise<T>;
  /** Starts work that nobody waits for; `close` does. */
  inBackground(task: () => Promise<void>): void;
  /** Reads stretches of a project's objects by the keys that records have. */
  reader(project: string): ObjectReader;
  /** Writes manifests into objects under an id of their own or an upload's. */
  manifestWriter(project: string, id: string): ObjectWriter;
}

export interface Settings {
  /** Bytes of files in one data object at the most. */
  readonly dataObjectBytes: number;
  /** Bytes of all uploads together that wait in memory for the store. */
  readonly uploadMemoryBytes: number;
  /** Bytes of all downloads together that are read ahead. */
  readonly downloadMemoryBytes: number;
  /** After so long without bytes, or six times as long with a few, what an upload holds in memory is put; in milliseconds. */
  readonly idleMs: number;
  /** Commits after which a run's view is folded. */
  readonly commitsPerSnapshot: number;
}

const MIB = 1024 * 1024;

export const DEFAULT_SETTINGS: Settings = {
  dataObjectBytes: 16 * MIB,
  // Three objects in flight and one that fills, for one upload at full speed; several share it. As much again is garbage before it is
  // collected, so that more would take a server beyond 300 MiB (test/clouds/memory.test.ts).
  uploadMemoryBytes: 64 * MIB,
  downloadMemoryBytes: 48 * MIB,
  idleMs: 5_000,
  commitsPerSnapshot: 16,
};
