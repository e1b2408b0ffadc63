/** Downloads: entries in order, each with its checked bytes. */
import { crc32c } from "../../lib/crc32c.ts";
import { checkName, checkPathOrRoot, quote } from "../check.ts";
import type { Context } from "../context.ts";
import { ArtifactsFailure } from "../errors.ts";
import { type StoredEntry, withoutExtents } from "../manifests/index.ts";
import type { CallContext, DownloadEvent, DownloadQuery, Reference } from "../types.ts";
import { pathNotFound, type ResolvedView } from "../views.ts";
import { type Piece, planPieces, readPieces, type Wanted } from "./pieces.ts";
import type { ReadAhead } from "./read-ahead.ts";

/** Bytes in one chunk, as the protocol promises. */
const CHUNK_BYTES = 1024 * 1024;

/** An entry on its way. */
interface Sending extends Wanted {
  readonly entry: StoredEntry;
  /** Of the wanted bytes, where that isn't the whole file's. */
  rangeCrc: number | undefined;
  left: number;
}

export async function* download(
  context: Context,
  readAhead: ReadAhead,
  query: DownloadQuery,
  { signal }: CallContext,
): AsyncGenerator<readonly DownloadEvent[], void, undefined> {
  checkName("project", query.project);
  const path = checkPathOrRoot(query.path ?? "");
  const resolved = await context.views.resolve(query.project, query.reference);
  await checkThere(resolved, path, query.reference);
  yield [{ type: "start", run: resolved.run, commit: resolved.seq }];

  const range = query.range && (await checkRange(resolved, path, query.range));
  const queue = new Set<Sending>();
  const entries = resolved.view.entries({
    path,
    ...(query.startAfter ? { startAfter: query.startAfter } : {}),
    ...(query.endAt ? { endAt: query.endAt } : {}),
    ...(signal ? { signal } : {}),
  });
  const pieces = (async function* (): AsyncGenerator<readonly Piece<Sending>[], void, undefined> {
    for await (const batch of entries) {
      for (const some of slices(batch, PLANNED_ENTRIES)) {
        const sendings = some.map((entry) => sendingOf(entry, range, query.held));
        for (const sending of sendings) queue.add(sending);
        yield* planPieces(sendings);
      }
    }
  })();

  const totals = { files: 0, bytes: 0 };
  let begun: Sending | undefined;
  for await (const batch of readPieces(context.objects.driver, query.project, pieces, readAhead, signal)) {
    const events: DownloadEvent[] = [];
    for (const piece of batch) {
      if (begun !== piece.owner) {
        drain(queue, piece.owner, events, totals);
        begun = piece.owner;
      }
      if ("damage" in piece) throw damaged(piece.owner.entry.path, piece.damage);
      addChunks(events, piece.bytes);
      finishPiece(piece.owner, piece.bytes, events, totals);
    }
    yield events;
  }
  const rest: DownloadEvent[] = [];
  drain(queue, undefined, rest, totals);
  rest.push({ type: "finish", ...totals });
  yield rest;
}

/** Entries whose pieces are worked out at once; the rest of a batch waits, so that a slow reader holds little. */
const PLANNED_ENTRIES = 256;

/** Fails unless a path that is asked for is there; the root always is. */
export async function checkThere(resolved: ResolvedView, path: string, reference: Reference): Promise<void> {
  if (path !== "" && !(await resolved.view.exists(path))) throw pathNotFound(path, resolved, reference);
}

export function damaged(path: string, problem: string): ArtifactsFailure {
  return new ArtifactsFailure("DATA_DAMAGED", `${quote(path)}: ${problem}`, { path });
}

async function checkRange(
  resolved: ResolvedView,
  path: string,
  range: { offset: number; length?: number },
): Promise<{ from: number; to: number }> {
  const entry = await resolved.view.get(path);
  const size = entry?.size;
  if (entry?.type !== "file" || size === undefined) {
    throw new ArtifactsFailure("RANGE_INVALID", `${quote(path)} is not a file: a range can be read of a file only`, { path });
  }
  if (range.offset >= size || range.length === 0) {
    const wanted = range.length === 0 ? "of 0 bytes" : `from byte ${range.offset}`;
    throw new ArtifactsFailure("RANGE_INVALID", `${quote(path)} has ${size} bytes: a range ${wanted} is outside it`, {
      path,
      size: String(size),
    });
  }
  return { from: range.offset, to: range.length === undefined ? size : Math.min(size, range.offset + range.length) };
}

function sendingOf(
  entry: StoredEntry,
  range: { from: number; to: number } | undefined,
  held: ReadonlyMap<string, number> | undefined,
): Sending {
  const size = entry.size ?? 0;
  const from = range?.from ?? Math.min(size, held?.get(entry.path) ?? 0);
  const to = range?.to ?? size;
  return { entry, from, to, rangeCrc: range ? 0 : undefined, left: to - from };
}

// Sends the entries before `until`, which have no bytes to wait for, and begins `until`.
function drain(queue: Set<Sending>, until: Sending | undefined, events: DownloadEvent[], totals: { files: number }): void {
  for (const sending of queue) {
    if (sending !== until && sending.left > 0) break;
    queue.delete(sending);
    const { entry } = sending;
    events.push({ type: "file", entry: withoutExtents(entry), offset: sending.from });
    if (entry.type !== "folder") totals.files++;
    if (sending === until) break;
    if (entry.type === "file") events.push({ type: "fileEnd", size: entry.size ?? 0, crc32c: entry.crc32c ?? 0 });
  }
}

function addChunks(events: DownloadEvent[], bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    events.push({ type: "chunk", bytes: at === 0 && bytes.length <= CHUNK_BYTES ? bytes : bytes.subarray(at, at + CHUNK_BYTES) });
  }
}

function finishPiece(sending: Sending, bytes: Uint8Array, events: DownloadEvent[], totals: { bytes: number }): void {
  sending.left -= bytes.length;
  totals.bytes += bytes.length;
  if (sending.rangeCrc !== undefined) sending.rangeCrc = crc32c(bytes, sending.rangeCrc);
  if (sending.left > 0) return;
  const { entry } = sending;
  if (sending.rangeCrc !== undefined) events.push({ type: "fileEnd", size: sending.to - sending.from, crc32c: sending.rangeCrc });
  else events.push({ type: "fileEnd", size: entry.size ?? 0, crc32c: entry.crc32c ?? 0 });
}

function* slices<T>(items: readonly T[], size: number): Generator<readonly T[]> {
  for (let at = 0; at < items.length; at += size) yield items.slice(at, at + size);
}
