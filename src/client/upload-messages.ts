/** Turns what is to be uploaded into the messages of the protocol's stream, leaving out what the server has. */
import { create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import { UploadFinishSchema, type UploadStart } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { EntryHeaderSchema, EntryType, FileEndSchema } from "../../gen/ts/dstack/artifacts/v1/entries_pb.ts";
import { crc32c } from "../lib/crc32c.ts";
import type { UploadMessage } from "../wire/messages.ts";
import { ArtifactsUploadError } from "./errors.ts";
import { openFile, readSmallFile, SMALL_FILE_BYTES } from "./file-reader.ts";
import type { LocalEntry } from "./walk.ts";

/** Bytes of chunks that go on together, for small files. */
const BATCH_BYTES = 256 * 1024;
/** Messages that go on together. */
const BATCH_MESSAGES = 256;
/** How often a file that changes is begun again. */
const READS_OF_A_CHANGING_FILE = 2;

/** What the server has of a file. */
export interface Persisted {
  readonly size: number | undefined;
  readonly mtimeNs: bigint;
  readonly try: number;
  readonly spans: readonly { readonly offset: number; readonly length: number }[];
}

/** Something to upload: a local entry, or bytes that come from elsewhere. */
export type UploadItem = LocalEntry | { readonly path: string; readonly bytes: AsyncIterable<Uint8Array> };

export interface UploadState {
  /** How often each file was begun before in this upload; only of files that were begun more than once. */
  readonly tries: Map<string, number>;
  readonly persisted: ReadonlyMap<string, Persisted>;
  /** Told of bytes that the server has now, or will have when the stream has gone through, and of files that are done. */
  onBytes(count: number): void;
  onFile(): void;
}

export interface Counts {
  files: number;
  bytes: number;
}

export async function* uploadMessages(
  start: UploadStart,
  items: Iterable<UploadItem>,
  state: UploadState,
): AsyncGenerator<readonly UploadMessage[], Counts, undefined> {
  const counts: Counts = { files: 0, bytes: 0 };
  let batch: UploadMessage[] = [{ case: "start", value: start }];
  let batchBytes = 0;
  const takeBatch = (): UploadMessage[] => {
    const taken = batch;
    batch = [];
    batchBytes = 0;
    return taken;
  };
  for (const item of items) {
    const small = smallFile(item, state);
    if (small !== undefined && !("bytes" in item)) {
      batch.push(...small.messages);
      batchBytes += small.size;
      counts.bytes += small.size;
      if (item.type !== "folder") counts.files++;
      state.onBytes(small.size);
      if (item.type !== "folder") state.onFile();
      if (batchBytes >= BATCH_BYTES || batch.length >= BATCH_MESSAGES) yield takeBatch();
      continue;
    }
    if (batch.length > 0) yield takeBatch();
    counts.bytes += "bytes" in item ? yield* streamMessages(item.path, item.bytes, state) : yield* fileMessages(item, state);
    counts.files++;
    state.onFile();
  }
  batch.push({ case: "finish", value: create(UploadFinishSchema, { files: BigInt(counts.files), bytes: BigInt(counts.bytes) }) });
  yield takeBatch();
  return counts;
}

// Folders, links and small files that the server has nothing of, as they are at the first reading.
function smallFile(item: UploadItem, state: UploadState): { messages: UploadMessage[]; size: number } | undefined {
  if ("bytes" in item) return undefined;
  if (item.type !== "file") return { messages: [header(item, item.type === "folder" ? EntryType.FOLDER : EntryType.LINK, 0)], size: 0 };
  if (item.size > SMALL_FILE_BYTES || state.tries.has(item.path) || state.persisted.has(item.path)) return undefined;
  const bytes = readSmallFile(item);
  if (bytes === undefined) return undefined;
  const messages: UploadMessage[] = [header(item, EntryType.FILE, 0)];
  if (bytes.length > 0) messages.push({ case: "chunk", value: bytes });
  messages.push(fileEnd(bytes.length, crc32c(bytes)));
  return { messages, size: bytes.length };
}

// Gives the file's size.
async function* fileMessages(item: LocalEntry, state: UploadState): AsyncGenerator<UploadMessage[], number, undefined> {
  for (let reading = 1; ; reading++) {
    const file = await openFile(item.local);
    try {
      const opened = { ...item, size: file.size, mode: file.mode, mtimeNs: file.mtimeNs };
      const attempt = tryOf(opened, state);
      yield [header(opened, EntryType.FILE, attempt)];
      const sent = yield* chunkMessages(file.chunks(), usableSpans(opened, attempt, state), state);
      if (sent.size === file.size && !(await file.changed())) {
        yield [fileEnd(sent.size, sent.crc)];
        return sent.size;
      }
      state.onBytes(-sent.size);
      state.tries.set(item.path, attempt + 1);
    } finally {
      await file.close();
    }
    if (reading === READS_OF_A_CHANGING_FILE)
      throw new ArtifactsUploadError(`${item.local} changed while it was read, twice: upload it when nothing writes to it`);
  }
}

// A file that has changed since it was persisted is begun again with a higher try.
function tryOf(item: LocalEntry, state: UploadState): number {
  const attempt = state.tries.get(item.path) ?? 0;
  const persisted = state.persisted.get(item.path);
  if (!persisted || persisted.try < attempt) return attempt;
  const same = persisted.size === item.size && persisted.mtimeNs === item.mtimeNs;
  const next = same ? persisted.try : persisted.try + 1;
  if (next > 0) state.tries.set(item.path, next);
  return next;
}

function usableSpans(item: LocalEntry, attempt: number, state: UploadState): Persisted["spans"] {
  const persisted = state.persisted.get(item.path);
  return persisted?.try === attempt && persisted.size === item.size && persisted.mtimeNs === item.mtimeNs ? persisted.spans : [];
}

// Reads every byte, for the checksum, and sends those that are in no span.
async function* chunkMessages(
  chunks: AsyncIterable<Uint8Array>,
  spans: Persisted["spans"],
  state: UploadState,
): AsyncGenerator<UploadMessage[], { size: number; crc: number }, undefined> {
  let size = 0;
  let crc = 0;
  let next = 0;
  for await (const chunk of chunks) {
    crc = crc32c(chunk, crc);
    const messages: UploadMessage[] = [];
    for (let at = 0; at < chunk.length; ) {
      const position = size + at;
      while (
        next < spans.length &&
        (spans[next] as { offset: number; length: number }).offset + (spans[next] as { length: number }).length <= position
      )
        next++;
      const span = spans[next];
      const until = span === undefined ? Number.POSITIVE_INFINITY : span.offset > position ? span.offset : span.offset + span.length;
      const part = chunk.subarray(at, Math.min(chunk.length, until - size));
      const inSpan = span !== undefined && span.offset <= position;
      if (!inSpan) messages.push({ case: "chunk", value: part });
      // A span is left out as a whole, when its first byte comes by.
      else if (span.offset === position) messages.push({ case: "skip", value: BigInt(span.length) });
      at += part.length;
    }
    size += chunk.length;
    if (messages.length > 0) yield messages;
    state.onBytes(chunk.length);
  }
  return { size, crc };
}

async function* streamMessages(
  path: string,
  bytes: AsyncIterable<Uint8Array>,
  state: UploadState,
): AsyncGenerator<UploadMessage[], number, undefined> {
  const value = create(EntryHeaderSchema, { path, type: EntryType.FILE, try: state.tries.get(path) ?? 0 });
  yield [{ case: "file", value }];
  const { size, crc } = yield* chunkMessages(bytes, [], state);
  yield [fileEnd(size, crc)];
  return size;
}

function header(item: LocalEntry, type: EntryType, attempt: number): UploadMessage {
  const value = create(EntryHeaderSchema, {
    path: item.path,
    type,
    mtime: timestampOf(item.mtimeNs),
    try: attempt,
    ...(type === EntryType.FILE ? { size: BigInt(item.size) } : {}),
    ...(type === EntryType.LINK ? { linkTarget: item.linkTarget ?? "" } : { mode: item.mode }),
  });
  return { case: "file", value };
}

function fileEnd(size: number, crc: number): UploadMessage {
  return { case: "fileEnd", value: create(FileEndSchema, { size: BigInt(size), crc32c: crc }) };
}

const NS_PER_SECOND = 1_000_000_000n;

export function timestampOf(ns: bigint): Timestamp {
  const nanos = ((ns % NS_PER_SECOND) + NS_PER_SECOND) % NS_PER_SECOND;
  return create(TimestampSchema, { seconds: (ns - nanos) / NS_PER_SECOND, nanos: Number(nanos) });
}

export function nanosecondsOf(timestamp: Timestamp | undefined): bigint {
  return timestamp === undefined ? 0n : timestamp.seconds * NS_PER_SECOND + BigInt(timestamp.nanos);
}
