/**
 * Reads stretches of files, checked piece by piece. Pieces that lie side by side in a data object come in one request, and requests run
 * ahead of whoever consumes them, as far as memory allows.
 */
import { crc32c } from "../../lib/crc32c.ts";
import { type Driver, type ReadOptions, StoreError } from "../../store/driver.ts";
import { inProject } from "../keys.ts";
import type { StoredExtent } from "../manifests/index.ts";
import { CHECKED_PIECE_BYTES } from "../uploads/data-writer.ts";
import type { ReadAhead, RequestMemory } from "./read-ahead.ts";

/** Bytes in one request while memory for reading ahead is short: one piece, the least that can be checked. */
const SMALL_FETCH_BYTES = CHECKED_PIECE_BYTES;
/** Pieces in one request: each is an object or more, and those of many small files would be much to hold. */
const FETCH_PIECES = 512;
/** Requests of one download that are under way or wait to be consumed. With more, less of what they read is still in the CPU's cache. */
const FETCHES_AHEAD = 3;

/** Pieces that are checked and handed on at once, so that the client has something to do while more small ones are made ready. */
const PIECES_AT_ONCE = 32;
/** Bytes of them: no more than stay in the CPU's cache until they are sent. */
const BYTES_AT_ONCE = CHECKED_PIECE_BYTES;

/** Pieces that are worked out at once; more wait until these are read, so that a slow reader holds little. */
const PLANNED_PIECES = 256;

/** A piece of a data object that has a checksum of its own, and who wants which part of it. */
export interface Piece<T> {
  readonly object: string;
  readonly offset: number;
  readonly length: number;
  readonly crc32c: number;
  /** The part that is wanted, counted from the piece's start. */
  readonly from: number;
  readonly to: number;
  readonly owner: T;
}

/** What reading a piece gave: the wanted part, or why it can't be had. */
export type ReadPiece<T> = { readonly owner: T; readonly bytes: Uint8Array } | { readonly owner: T; readonly damage: string };

/** A file, and which of its bytes are wanted: from byte `from` up to byte `to`. */
export interface Wanted {
  readonly entry: { readonly extents: readonly StoredExtent[] };
  readonly from: number;
  readonly to: number;
}

/** The pieces that cover what is wanted, one file after the other, in batches: those of a large file are as many as it has MiB. */
export function* planPieces<T extends Wanted>(wanted: readonly T[]): Generator<readonly Piece<T>[], void, undefined> {
  let planned: Piece<T>[] = [];
  // By index: iterators that live on while this waits would be allocated for each small file.
  for (let n = 0; n < wanted.length; n++) {
    const owner = wanted[n] as T;
    if (owner.from >= owner.to) continue;
    const { extents } = owner.entry;
    let position = 0;
    for (let k = 0; k < extents.length && position < owner.to; k++) {
      const extent = extents[k] as StoredExtent;
      for (let i = firstPiece(extent, owner.from - position); i < extent.crc32c.length; i++) {
        const piece = pieceOf(extent, i, position, owner);
        if (!piece) break;
        planned.push(piece);
        if (planned.length < PLANNED_PIECES) continue;
        yield planned;
        planned = [];
      }
      position += extent.length;
    }
  }
  if (planned.length > 0) yield planned;
}

/** The first piece of an extent that has something behind byte `from` of it. */
function firstPiece({ length, crc32c }: StoredExtent, from: number): number {
  if (from <= 0) return 0;
  return from < length ? Math.floor(from / CHECKED_PIECE_BYTES) : crc32c.length;
}

/** A piece of an extent that begins at byte `position` of the file; `undefined` if nothing of it is wanted. */
function pieceOf<T extends Wanted>(extent: StoredExtent, i: number, position: number, owner: T): Piece<T> | undefined {
  const inExtent = i * CHECKED_PIECE_BYTES;
  const start = position + inExtent;
  if (start >= owner.to) return undefined;
  const length = Math.min(CHECKED_PIECE_BYTES, extent.length - inExtent);
  return {
    object: extent.object,
    offset: extent.offset + inExtent,
    length,
    crc32c: extent.crc32c[i] as number,
    from: Math.max(0, owner.from - start),
    to: Math.min(length, owner.to - start),
    owner,
  };
}

interface Fetch<T> {
  readonly pieces: Piece<T>[];
  bytes: number;
}

/** Reads pieces in their order. Gives them in batches, whose bytes stay until the next batch is asked for. */
export async function* readPieces<T>(
  driver: Driver,
  project: string,
  pieces: AsyncIterable<readonly Piece<T>[]>,
  readAhead: ReadAhead,
  signal: AbortSignal | undefined,
): AsyncGenerator<readonly ReadPiece<T>[], void, undefined> {
  const abort = new AbortController();
  const either = signal ? AbortSignal.any([signal, abort.signal]) : abort.signal;
  const fetches = groupFetches(pieces, () => (readAhead.hasRoom ? driver.readBytes : SMALL_FETCH_BYTES));
  const ahead: { pieces: readonly Piece<T>[]; memory: RequestMemory; result: Promise<Uint8Array | undefined> }[] = [];
  let ended = false;
  try {
    for (;;) {
      // The first request is always allowed, the further ones only while the memory for reading ahead lasts.
      while (!ended && ahead.length < FETCHES_AHEAD && (ahead.length === 0 || readAhead.hasRoom)) {
        const next = await fetches.next();
        if (next.done) {
          ended = true;
          break;
        }
        const { pieces, bytes } = next.value;
        const memory = readAhead.take(bytes);
        const result = readStretch(driver, project, pieces, bytes, { allocate: memory.allocate, signal: either });
        result.catch(() => {});
        ahead.push({ pieces, memory, result });
      }
      const first = ahead[0];
      if (!first) return;
      const bytes = await first.result;
      let batch: ReadPiece<T>[] = [];
      let batchBytes = 0;
      let offset = 0;
      for (const piece of first.pieces) {
        const part = bytes?.subarray(offset, offset + piece.length);
        // Damage on the way here looks like damage in the store: ask once more, for this piece alone.
        batch.push(isWhole(part, piece) ? wanted(piece, part) : await readAgain(driver, project, piece, either));
        batchBytes += piece.length;
        offset += piece.length;
        if (batch.length < PIECES_AT_ONCE && batchBytes < BYTES_AT_ONCE) continue;
        yield batch;
        batch = [];
        batchBytes = 0;
      }
      if (batch.length > 0) yield batch;
      ahead.shift();
      first.memory.release(true);
    }
  } finally {
    abort.abort();
    // What was left in the middle may still be on its way to or from somebody.
    for (const { memory } of ahead) memory.release(false);
    await fetches.return?.(undefined);
  }
}

async function* groupFetches<T>(
  pieces: AsyncIterable<readonly Piece<T>[]>,
  maxBytes: () => number,
): AsyncGenerator<Fetch<T>, void, undefined> {
  let fetch: Fetch<T> | undefined;
  for await (const batch of pieces) {
    for (const piece of batch) {
      const last = fetch?.pieces.at(-1);
      const adjacent = last !== undefined && last.object === piece.object && last.offset + last.length === piece.offset;
      if (fetch && (!adjacent || fetch.pieces.length === FETCH_PIECES || fetch.bytes + piece.length > maxBytes())) {
        yield fetch;
        fetch = undefined;
      }
      fetch ??= { pieces: [], bytes: 0 };
      fetch.pieces.push(piece);
      fetch.bytes += piece.length;
    }
  }
  if (fetch) yield fetch;
}

async function readAgain<T>(driver: Driver, project: string, piece: Piece<T>, signal: AbortSignal): Promise<ReadPiece<T>> {
  const bytes = await readStretch(driver, project, [piece], piece.length, { signal });
  if (isWhole(bytes, piece)) return wanted(piece, bytes);
  return { owner: piece.owner, damage: bytes ? `stored bytes are damaged in ${piece.object}` : `${piece.object} is missing in the store` };
}

function wanted<T>({ owner, from, to, length }: Piece<T>, bytes: Uint8Array): ReadPiece<T> {
  return { owner, bytes: to - from === length ? bytes : bytes.subarray(from, to) };
}

function isWhole<T>(bytes: Uint8Array | undefined, piece: Piece<T>): bytes is Uint8Array {
  return bytes?.length === piece.length && crc32c(bytes) === piece.crc32c;
}

// `undefined` if the object is gone or too short.
async function readStretch<T>(
  driver: Driver,
  project: string,
  pieces: readonly Piece<T>[],
  length: number,
  options: ReadOptions,
): Promise<Uint8Array | undefined> {
  const first = pieces[0] as Piece<T>;
  try {
    return await driver.read(inProject(project, first.object), { offset: first.offset, length }, options);
  } catch (error) {
    if (error instanceof StoreError && (error.kind === "notFound" || error.kind === "outOfRange" || error.kind === "damaged"))
      return undefined;
    throw error;
  }
}
