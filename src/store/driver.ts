/**
 * What an object store must offer, and nothing that can be built from it.
 *
 * A driver moves bounded byte buffers. Objects are created once and never changed. Retries, concurrency limits,
 * timeouts and metrics are layers around a driver (`layers/`); the layout of keys belongs to `src/artifacts`.
 */

/** Bytes in several buffers, in order, so that nothing is joined (and copied) on the way to a store. */
export type ByteParts = readonly Uint8Array[];

/** An object in a listing. */
export interface ObjectInfo {
  readonly key: string;
  /** Bytes. */
  readonly size: number;
  /** By the store's clock. */
  readonly lastModified: Date;
}

/** One page of a listing, in ascending order of the keys' UTF-8 bytes. */
export interface ObjectPage {
  readonly objects: readonly ObjectInfo[];
  /** Whether keys follow the last one of `objects`. */
  readonly more: boolean;
}

/** A stretch of an object. */
export interface ObjectRange {
  /** Of its first byte, from 0. */
  readonly offset: number;
  /** Bytes, at least 1. */
  readonly length: number;
}

export interface CallOptions {
  /** Ends the call early; it then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

export interface ReadOptions extends CallOptions {
  /**
   * Gives memory for what is read, of so many bytes at least; what it holds before is of no account. The result shows a part of it.
   * Asked at most once by each try of a read, and not after it was ended. By default each read makes its own.
   */
  readonly allocate?: ((bytes: number) => Uint8Array) | undefined;
}

export interface PutOptions extends CallOptions {
  /** CRC32C (Castagnoli) of the whole body; a store that finds another one refuses the body. */
  readonly crc32c: number;
}

export interface ListOptions extends CallOptions {
  /** Only keys greater than this one (exclusive). */
  readonly startAfter?: string | undefined;
  /** Keys at the most, 1 to 1,000; a page may hold fewer only if it is the last. */
  readonly limit?: number | undefined;
}

export interface Driver {
  /** What the store is called in errors and logs: its URL without secrets. */
  readonly name: string;
  /** The most bytes that one read should ask for: many, where each request costs time, and few enough to wait for in memory. */
  readonly readBytes: number;

  /**
   * Creates an object unless its key exists: whole, durable and visible to every reader when it resolves.
   *
   * Resolves `true` when this call created it and `false` when the key exists; it then holds what it held before. After
   * a rejection the object may or may not exist, whole; `StoreError.kind` says whether to try again.
   */
  putIfAbsent(key: string, body: ByteParts, options: PutOptions): Promise<boolean>;

  /**
   * Reads an object, or the part of `range` that lies inside it.
   *
   * Rejects with kind `notFound`, or `outOfRange` when `range.offset` is at or past the object's end. A whole read is
   * checked against what the store recorded when it was put: `damaged` when it differs.
   */
  read(key: string, range: ObjectRange | undefined, options?: ReadOptions): Promise<Uint8Array>;

  /** Lists the objects whose key starts with `prefix`; what was acknowledged before the call is in it. */
  list(prefix: string, options?: ListOptions): Promise<ObjectPage>;

  /** Deletes an object; one that isn't there counts as deleted. */
  delete(key: string, options?: CallOptions): Promise<void>;

  /** Frees sockets and handles; calls made afterwards reject. */
  close(): Promise<void>;
}

/**
 * Why a store call failed.
 *
 * - `notFound`: no object of that key.
 * - `outOfRange`: the range starts past the object's end.
 * - `damaged`: what came back isn't what was put, or what arrived isn't what was sent.
 * - `temporary`: throttled, timed out, reset or out of order for the moment: the same call may succeed later.
 * - `denied`: credentials missing, expired or without permission.
 * - `misconfigured`: no such bucket, wrong region, an address that isn't a store: somebody must change a setting.
 * - `full`: no space or quota left.
 * - `unsupported`: the store lacks what the layout needs.
 * - `failed`: any other permanent failure.
 */
export type StoreErrorKind =
  | "notFound"
  | "outOfRange"
  | "damaged"
  | "temporary"
  | "denied"
  | "misconfigured"
  | "full"
  | "unsupported"
  | "failed";

/** A failed store call. The message is one line that names the store, and the setting to change where there is one. */
export class StoreError extends Error {
  override readonly name = "StoreError";
  readonly kind: StoreErrorKind;
  /** How long the store asked to wait before the next try, in milliseconds. */
  readonly retryAfterMs: number | undefined;

  constructor(kind: StoreErrorKind, message: string, options?: ErrorOptions & { retryAfterMs?: number }) {
    super(message, options);
    this.kind = kind;
    this.retryAfterMs = options?.retryAfterMs;
  }
}
