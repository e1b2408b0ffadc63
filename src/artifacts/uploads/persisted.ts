/** What of an upload is in the store: the union of the footers of its data objects, by whichever servers they were written. */
import type { Piece } from "../../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { mapAhead } from "../../lib/map-ahead.ts";
import { comparePaths } from "../../lib/paths.ts";
import type { ObjectInfo } from "../../store/driver.ts";
import { dataPrefix, isDataObject, uploadDataPrefix } from "../keys.ts";
import type { StoredExtent } from "../manifests/index.ts";
import type { Objects } from "../objects.ts";
import type { PersistedFile } from "../types.ts";
import { readFooter } from "./data-footer.ts";
import type { FileIdentity } from "./data-writer.ts";

/** Footers that are read at once. */
const READ_CONCURRENCY = 16;

interface PersistedPiece {
  readonly fileOffset: number;
  readonly extent: StoredExtent;
}

/** One state of a file, as one header described it, and what is stored of that. */
interface Variant {
  readonly identity: FileIdentity;
  /** Disjoint, by offset. */
  readonly pieces: PersistedPiece[];
}

export class Persisted {
  readonly #variants = new Map<string, Variant[]>();
  readonly #objects: string[] = [];
  readonly #paths: string[] = [];
  /** Whether `#paths` is. */
  #sorted = true;
  #pieceCount = 0;

  /** The data objects that it comes from, in the order in which they were added. */
  get objects(): readonly string[] {
    return this.#objects;
  }

  get pieceCount(): number {
    return this.#pieceCount;
  }

  /**
   * Adds what is in a data object. Objects must come in the order in which they were stored: a piece that overlaps an earlier one is left
   * out, so that answers never shrink.
   */
  add(object: string, pieces: readonly Piece[]): void {
    let offset = 0;
    for (const piece of pieces) {
      const length = Number(piece.length);
      this.#add(piece, { object, offset, length, crc32c: piece.crc32c });
      offset += length;
    }
    this.#objects.push(object);
  }

  #add(piece: Piece, extent: StoredExtent): void {
    this.#pieceCount++;
    const identity = {
      path: piece.path,
      try: piece.try,
      size: piece.size === undefined ? undefined : Number(piece.size),
      mtimeNs: piece.mtimeNs,
    };
    let variants = this.#variants.get(piece.path);
    if (!variants) {
      this.#variants.set(piece.path, (variants = []));
      this.#paths.push(piece.path);
      this.#sorted = false;
    }
    let variant = variants.find((candidate) => sameIdentity(candidate.identity, identity));
    if (!variant) variants.push((variant = { identity, pieces: [] }));
    insertDisjoint(variant.pieces, { fileOffset: Number(piece.fileOffset), extent });
  }

  /** The stored extents that make up exactly `length` bytes of a file from `offset`; `undefined` if there are none such. */
  cover(identity: FileIdentity, offset: number, length: number): readonly StoredExtent[] | undefined {
    const variant = this.#variants.get(identity.path)?.find((candidate) => sameIdentity(candidate.identity, identity));
    if (!variant) return undefined;
    const extents: StoredExtent[] = [];
    let at = offset;
    for (let i = lowerBound(variant.pieces, offset); at < offset + length; i++) {
      const piece = variant.pieces[i];
      if (piece?.fileOffset !== at) return undefined;
      extents.push(piece.extent);
      at += piece.extent.length;
    }
    return at === offset + length ? extents : undefined;
  }

  /** The paths of all files, in order. */
  paths(): readonly string[] {
    if (!this.#sorted) this.#paths.sort(comparePaths);
    this.#sorted = true;
    return this.#paths;
  }

  /** Of a file that was begun several times, the last. */
  file(path: string): PersistedFile {
    const variants = this.#variants.get(path) ?? [];
    const { identity, pieces } = variants.reduce((a, b) => (b.identity.try >= a.identity.try ? b : a));
    const { size, mtimeNs } = identity;
    return { path, mtimeNs, try: identity.try, spans: spansOf(pieces), ...(size === undefined ? {} : { size }) };
  }
}

export interface LoadOptions {
  /** What was read before: it gets what is new, unless that is not all behind it. */
  readonly known?: Persisted | undefined;
  readonly signal?: AbortSignal | undefined;
}

export async function loadPersisted(
  objects: Objects,
  project: string,
  uploadId: string,
  { known, signal }: LoadOptions = {},
): Promise<Persisted> {
  const found: ObjectInfo[] = [];
  for await (const object of objects.list(uploadDataPrefix(project, uploadId), signal ? { signal } : {})) {
    if (isDataObject(object.key)) found.push(object);
  }
  found.sort((a, b) => a.lastModified.getTime() - b.lastModified.getTime() || (a.key < b.key ? -1 : 1));
  const toRelative = dataPrefix(project).length - "data/".length;
  const keys = found.map(({ key }) => key.slice(toRelative));
  const persisted = known?.objects.every((key, i) => key === keys[i]) ? known : new Persisted();
  const more = found.slice(persisted.objects.length);
  // In this order, while nobody else adds to `known`: keys are found by how many are there.
  const footers = mapAhead(more, READ_CONCURRENCY, (object) => readFooter(objects, object, signal));
  for await (const pieces of footers) persisted.add(keys[persisted.objects.length] as string, pieces);
  return persisted;
}

function sameIdentity(a: FileIdentity, b: FileIdentity): boolean {
  return a.try === b.try && a.size === b.size && a.mtimeNs === b.mtimeNs;
}

function insertDisjoint(pieces: PersistedPiece[], piece: PersistedPiece): void {
  const at = lowerBound(pieces, piece.fileOffset);
  const before = pieces[at - 1];
  const after = pieces[at];
  if (before && before.fileOffset + before.extent.length > piece.fileOffset) return;
  if (after && piece.fileOffset + piece.extent.length > after.fileOffset) return;
  pieces.splice(at, 0, piece);
}

// The index of the first piece that begins at or behind `offset`.
function lowerBound(pieces: readonly PersistedPiece[], offset: number): number {
  let low = 0;
  let high = pieces.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((pieces[middle] as PersistedPiece).fileOffset < offset) low = middle + 1;
    else high = middle;
  }
  return low;
}

function spansOf(pieces: readonly PersistedPiece[]): { offset: number; length: number }[] {
  const spans: { offset: number; length: number }[] = [];
  for (const { fileOffset, extent } of pieces) {
    const last = spans.at(-1);
    if (last && last.offset + last.length === fileOffset) last.length += extent.length;
    else spans.push({ offset: fileOffset, length: extent.length });
  }
  return spans;
}
