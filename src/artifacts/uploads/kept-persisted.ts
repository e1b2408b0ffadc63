/**
 * What was read last of what uploads have persisted. A client that goes on asks for it page by page, and then sends the rest; each time it is
 * looked what was stored meanwhile, by whichever server, and only that is read.
 */
import type { Objects } from "../objects.ts";
import { loadPersisted, type Persisted } from "./persisted.ts";

/** Uploads that are kept at a time. */
const KEPT_UPLOADS = 4;
/** Pieces of all of them, each half a KiB of memory; the upload that was asked for last is kept however many it has. */
const KEPT_PIECES = 200_000;
/** Long enough for a page of 10,000 files on a slow line. */
const KEEP_MS = 30_000;

interface Kept {
  readonly persisted: Persisted;
  readonly timer: NodeJS.Timeout;
}

export class KeptPersisted {
  readonly #objects: Objects;
  readonly #lock: <T>(key: string, task: () => Promise<T>) => Promise<T>;
  readonly #keepMs: number;
  /** The one that was asked for last at the end. */
  readonly #kept = new Map<string, Kept>();

  constructor(objects: Objects, lock: <T>(key: string, task: () => Promise<T>) => Promise<T>, keepMs = KEEP_MS) {
    this.#objects = objects;
    this.#lock = lock;
    this.#keepMs = keepMs;
  }

  /** What of an upload is in the store now. It may get more later, when somebody asks again. */
  load(project: string, uploadId: string, signal?: AbortSignal): Promise<Persisted> {
    const key = `${project}/${uploadId}`;
    return this.#lock(`persisted ${key}`, async () => {
      const persisted = await loadPersisted(this.#objects, project, uploadId, { known: this.#kept.get(key)?.persisted, signal });
      this.#drop(key);
      this.#kept.set(key, { persisted, timer: setTimeout(() => this.#drop(key), this.#keepMs).unref() });
      this.#makeRoom();
      return persisted;
    });
  }

  #drop(key: string): void {
    clearTimeout(this.#kept.get(key)?.timer);
    this.#kept.delete(key);
  }

  #makeRoom(): void {
    let pieces = 0;
    for (const { persisted } of this.#kept.values()) pieces += persisted.pieceCount;
    for (const [key, { persisted }] of this.#kept) {
      if (this.#kept.size <= 1 || (this.#kept.size <= KEPT_UPLOADS && pieces <= KEPT_PIECES)) return;
      pieces -= persisted.pieceCount;
      this.#drop(key);
    }
  }
}
