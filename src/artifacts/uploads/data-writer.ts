/**
 * Packs the bytes of an upload's files, in the order they come, into data objects of a bounded size and puts those, several at a time.
 * They are copied once, into buffers that are used again: those that a socket brings would wait for the collector, and keep it busy, which
 * costs three times what copying does.
 */
import { type Piece, PieceSchema } from "../../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { combineCrc32c, crc32c } from "../../lib/crc32c.ts";
import { StoreError } from "../../store/driver.ts";
import type { StoredExtent } from "../manifests/index.ts";
import { FooterEncoder } from "./data-footer.ts";
import type { Holder, MemoryBudget } from "./memory-budget.ts";

/** Each so many bytes of an extent have a checksum of their own, so that a range can be checked without reading all of it. */
export const CHECKED_PIECE_BYTES = 1024 * 1024;
/** Pieces in one data object at the most, since each takes a hundred bytes of memory until the object is put, however small its file. */
export const OBJECT_PIECES = 8192;
/** An object's buffers until it fills a large one, so that many uploads of a few bytes hold little more than those. */
const SMALL_BUFFER_BYTES = 16 * 1024;
/** Data objects of one upload that are put at once. */
const PUTS_IN_FLIGHT = 4;

export interface FileIdentity {
  readonly path: string;
  readonly try: number;
  readonly size: number | undefined;
  readonly mtimeNs: bigint;
}

export interface DataWriterOptions {
  /** Bytes of files in one data object at the most. */
  readonly objectBytes: number;
  readonly budget: MemoryBudget;
  /** The key of the n-th object, as records name it. */
  keyOf(n: number): string;
  put(key: string, parts: readonly Uint8Array[], crc: number): Promise<boolean>;
}

interface OpenExtent {
  readonly object: string;
  readonly offset: number;
  length: number;
  readonly crc32c: number[];
  pieceBytes: number;
  pieceCrc: number;
}

interface OpenObject {
  readonly key: string;
  /** Full but for the last. */
  readonly buffers: Uint8Array<ArrayBuffer>[];
  /** Bytes of the last buffer that are free. */
  room: number;
  bytes: number;
  crc: number;
  readonly footer: FooterEncoder;
}

export class DataWriter implements Holder {
  readonly #options: DataWriterOptions;
  #objects = 0;
  #object: OpenObject | undefined;
  #file: FileIdentity | undefined;
  #filePosition = 0;
  #fileCrc = 0;
  #extents: StoredExtent[] = [];
  #extent: OpenExtent | undefined;
  readonly #inFlight = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;
  /** When bytes came last, and when the open object's first did, in milliseconds of `performance.now()`. */
  lastWriteMs = performance.now();
  openedMs = performance.now();

  constructor(options: DataWriterOptions) {
    this.#options = options;
    options.budget.join(this);
  }

  get openBytes(): number {
    return this.#object?.bytes ?? 0;
  }

  /** Bytes of the file so far. */
  get position(): number {
    return this.#filePosition;
  }

  /** Begins a file; one that was begun and not ended is left behind. */
  begin(file: FileIdentity): void {
    this.#closeExtent();
    this.#file = file;
    this.#filePosition = 0;
    this.#fileCrc = 0;
    this.#extents = [];
  }

  /** Takes the next bytes of the file, as a copy. A promise is backpressure. */
  write(bytes: Uint8Array): Promise<void> | undefined {
    this.#throwFailure();
    this.lastWriteMs = performance.now();
    for (let taken = 0; taken < bytes.length; ) taken += this.#append(taken === 0 ? bytes : bytes.subarray(taken));
    const room = this.#options.budget.take(bytes.length);
    if (this.#inFlight.size < PUTS_IN_FLIGHT) return room;
    return Promise.all([room, this.#slot()]).then(() => this.#throwFailure());
  }

  /** The next bytes of the file are in an extent that is stored already. */
  adopt(extent: StoredExtent): void {
    this.#closeExtent();
    this.#extents.push(extent);
    this.#filePosition += extent.length;
    extent.crc32c.forEach((crc, i) => {
      const length = Math.min(CHECKED_PIECE_BYTES, extent.length - i * CHECKED_PIECE_BYTES);
      this.#fileCrc = combineCrc32c(this.#fileCrc, crc, length);
    });
  }

  /** Ends the file. Its bytes are durable only after `flush`. */
  end(): { size: number; crc32c: number; extents: readonly StoredExtent[] } {
    this.#closeExtent();
    const result = { size: this.#filePosition, crc32c: this.#fileCrc, extents: this.#extents };
    this.#file = undefined;
    return result;
  }

  /** Puts the open object as it is. */
  handOn(): void {
    this.#closeExtent();
    const object = this.#object;
    if (!object) return;
    this.#object = undefined;
    const put = this.#put(object).finally(() => this.#inFlight.delete(put));
    this.#inFlight.add(put);
  }

  /** Everything that came is durable, or this rejects. */
  async flush(): Promise<void> {
    this.handOn();
    await Promise.all(this.#inFlight);
    this.#throwFailure();
  }

  /** Persists what can be persisted and lets go of the budget. Never rejects. */
  async close(): Promise<void> {
    if (this.#failure) this.#drop();
    else this.handOn();
    await Promise.all(this.#inFlight);
    this.#options.budget.leave(this);
  }

  #drop(): void {
    this.#options.budget.release(this.openBytes);
    this.#object = undefined;
    this.#extent = undefined;
  }

  // As much of `bytes` as fits into the object and the piece that are open.
  #append(bytes: Uint8Array): number {
    const object = (this.#object ??= this.#openObject());
    const extent = (this.#extent ??= { object: object.key, offset: object.bytes, length: 0, crc32c: [], pieceBytes: 0, pieceCrc: 0 });
    const taken = Math.min(bytes.length, this.#options.objectBytes - object.bytes, CHECKED_PIECE_BYTES - extent.pieceBytes);
    const part = taken === bytes.length ? bytes : bytes.subarray(0, taken);
    this.#keep(object, part);
    object.bytes += taken;
    extent.length += taken;
    extent.pieceBytes += taken;
    extent.pieceCrc = crc32c(part, extent.pieceCrc);
    this.#filePosition += taken;
    if (extent.pieceBytes === CHECKED_PIECE_BYTES) this.#closePiece(object, extent);
    if (object.bytes === this.#options.objectBytes) this.handOn();
    return taken;
  }

  #keep(object: OpenObject, part: Uint8Array): void {
    const pool = this.#options.budget.buffers;
    for (let at = 0; at < part.length; ) {
      if (object.room === 0) {
        const held = object.buffers.length * SMALL_BUFFER_BYTES;
        const buffer = held < pool.bufferBytes ? Buffer.allocUnsafeSlow(SMALL_BUFFER_BYTES) : pool.take();
        object.buffers.push(buffer);
        object.room = buffer.length;
      }
      const last = object.buffers.at(-1) as Uint8Array;
      const taken = Math.min(part.length - at, object.room);
      last.set(part.subarray(at, at + taken), last.length - object.room);
      object.room -= taken;
      at += taken;
    }
  }

  #openObject(): OpenObject {
    this.openedMs = this.lastWriteMs;
    return { key: this.#options.keyOf(this.#objects++), buffers: [], room: 0, bytes: 0, crc: 0, footer: new FooterEncoder() };
  }

  #closePiece(object: OpenObject, extent: OpenExtent): void {
    if (extent.pieceBytes === 0) return;
    extent.crc32c.push(extent.pieceCrc);
    object.crc = combineCrc32c(object.crc, extent.pieceCrc, extent.pieceBytes);
    this.#fileCrc = combineCrc32c(this.#fileCrc, extent.pieceCrc, extent.pieceBytes);
    extent.pieceBytes = 0;
    extent.pieceCrc = 0;
  }

  #closeExtent(): void {
    const extent = this.#extent;
    if (!extent || !this.#object || !this.#file) return;
    this.#extent = undefined;
    this.#closePiece(this.#object, extent);
    const { object, offset, length, crc32c } = extent;
    this.#extents.push({ object, offset, length, crc32c });
    const { path, try: attempt, size, mtimeNs } = this.#file;
    const fileOffset = BigInt(this.#filePosition - length);
    // Not by `create`, which takes several times as long: each small file has a piece.
    const piece: Piece = { $typeName: PieceSchema.typeName, path, try: attempt, mtimeNs, fileOffset, length: BigInt(length), crc32c };
    if (size !== undefined) piece.size = BigInt(size);
    this.#object.footer.add(piece);
    if (this.#object.footer.pieceCount >= OBJECT_PIECES) this.handOn();
  }

  async #put(object: OpenObject): Promise<void> {
    const { buffers, room } = object;
    const { budget } = this.#options;
    try {
      const ending = object.footer.finish();
      const crc = ending.reduce((sum, part) => combineCrc32c(sum, crc32c(part), part.length), object.crc);
      const created = await this.#options.put(object.key, [...filled(buffers, room), ...ending], crc);
      if (!created) throw new StoreError("failed", `the store already has ${object.key}, which was to be made now`);
      // Only now: of a put that failed, something may still be under way.
      for (const buffer of buffers) if (buffer.length === budget.buffers.bufferBytes) budget.buffers.give(buffer);
    } catch (error) {
      this.#failure ??= { error };
    } finally {
      budget.release(object.bytes);
    }
  }

  async #slot(): Promise<void> {
    while (this.#inFlight.size >= PUTS_IN_FLIGHT && !this.#failure) await Promise.race(this.#inFlight);
  }

  #throwFailure(): void {
    if (this.#failure) throw this.#failure.error;
  }
}

/** The bytes that are in the buffers, the last of which has `room` for more. */
function filled(buffers: readonly Uint8Array[], room: number): Uint8Array[] {
  return buffers.map((buffer, i) => (i === buffers.length - 1 ? buffer.subarray(0, buffer.length - room) : buffer));
}
