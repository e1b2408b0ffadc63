/** Turns what is to be uploaded into the messages of the protocol's stream, leaving out what the server has. */
import { create } from "@bufbuild/protobuf";
import { UploadFinishSchema, type UploadStart } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { EntryHeaderSchema, EntryType, FileEndSchema } from "../../gen/ts/dstack/artifacts/v1/entries_pb.ts";
import { BufferPool } from "../lib/buffer-pool.ts";
import { crc32c } from "../lib/crc32c.ts";
import { MAX_CHUNK_BYTES } from "../wire/limits.ts";
import type { UploadMessage } from "../wire/messages.ts";
import { ArtifactsUploadError } from "./errors.ts";
import { openFile, readSmallFile, SMALL_FILE_BYTES } from "./file-reader.ts";
import type { PersistedFile } from "./persisted.ts";
import type { SourceItem } from "./source.ts";
import { timestampOf } from "./timestamps.ts";
import type { LocalEntry } from "./walk.ts";

/** Messages that go on together. */
const BATCH_MESSAGES = 256;
/** Bytes that are read at once, and sent as a batch: between batches the connection is idle for a moment, so that few large ones are better. */
const READ_BYTES = 2 * MAX_CHUNK_BYTES;
/** Of a large file, one is sent while the other is read into. */
const READ_BUFFERS = 2;
/** Bytes of small files after which a batch goes on. With a byte less, one more file and the byte that shows whether it grew, it fills a buffer. */
const BATCH_BYTES = READ_BYTES - SMALL_FILE_BYTES;
/** How often a file that changes while it is read is read. */
export const CHANGING_FILE_READS = 2;

/** Something to upload: a local entry, or bytes that come from elsewhere. */
export type UploadItem = LocalEntry | SourceItem;

export interface UploadState {
  /** How often each file was begun before in this upload; only of files that were begun more than once. */
  readonly tries: Map<string, number>;
  readonly persisted: ReadonlyMap<string, PersistedFile>;
  /** Told of files that are done, and of bytes that the server has, or will have when the stream has gone through. */
  onSent(files: number, bytes: number): void;
}

/** Gives the messages in batches. The bytes of a batch stay until the next one is asked for. */
export async function* uploadMessages(
  start: UploadStart,
  items: Iterable<UploadItem>,
  state: UploadState,
): AsyncGenerator<readonly UploadMessage[], void, undefined> {
  const buffers = new BufferPool(READ_BYTES, READ_BUFFERS);
  let buffer: Uint8Array<ArrayBuffer> | undefined;
  let files = 0;
  let bytes = 0;
  let batch: UploadMessage[] = [{ case: "start", value: start }];
  let batchBytes = 0;
  const takeBatch = (): UploadMessage[] => {
    const taken = batch;
    batch = [];
    batchBytes = 0;
    return taken;
  };
  /** Memory for a small file, behind those of the batch. An upload of a single one, of which services make many, needs no whole buffer. */
  const room = (bytes: number): Uint8Array => {
    if (files === 0) return Buffer.allocUnsafe(bytes);
    buffer ??= buffers.take();
    return buffer.subarray(batchBytes);
  };
  for (const item of items) {
    const isFile = item.type !== "folder";
    const small = smallMessages(item, state, room);
    if (small !== undefined) {
      batch.push(...small);
      batchBytes += item.size ?? 0;
      bytes += item.size ?? 0;
      state.onSent(isFile ? 1 : 0, item.size ?? 0);
      if (batchBytes >= BATCH_BYTES || batch.length >= BATCH_MESSAGES) yield takeBatch();
    } else {
      const before = takeBatch();
      const sent = item.type === "source" ? yield* sourceMessages(before, item, state) : yield* fileMessages(before, item, state, buffers);
      batch.push(fileEnd(sent.size, sent.crc));
      bytes += sent.size;
      state.onSent(1, 0);
    }
    if (isFile) files++;
  }
  batch.push({ case: "finish", value: create(UploadFinishSchema, { files: BigInt(files), bytes: BigInt(bytes) }) });
  yield takeBatch();
}

// Folders, links and small files, as they are at the first reading.
function smallMessages(item: UploadItem, state: UploadState, room: (bytes: number) => Uint8Array): UploadMessage[] | undefined {
  if (item.type === "source") return undefined;
  if (item.type !== "file") return [header(item, item.type === "folder" ? EntryType.FOLDER : EntryType.LINK, 0)];
  if (item.size > SMALL_FILE_BYTES) return undefined;
  const bytes = readSmallFile(item, room(item.size + 1));
  if (bytes === undefined) return undefined;
  const attempt = tryOf(item, state);
  return [
    header(item, EntryType.FILE, attempt),
    ...createPieces(usableSpans(item, attempt, state))(bytes),
    fileEnd(bytes.length, crc32c(bytes)),
  ];
}

/** What a file turned out to be. */
interface Sent {
  readonly size: number;
  readonly crc: number;
}

// All of a file but its end, behind messages that wait to go on together with its first ones.
async function* fileMessages(
  waiting: readonly UploadMessage[],
  item: LocalEntry,
  state: UploadState,
  buffers: BufferPool,
): AsyncGenerator<UploadMessage[], Sent, undefined> {
  let before = waiting;
  for (let reading = 1; ; reading++) {
    const file = await openFile(item.local);
    try {
      const opened = { ...item, size: file.size, mode: file.mode, mtimeNs: file.mtimeNs };
      const attempt = tryOf(opened, state);
      const first = [...before, header(opened, EntryType.FILE, attempt)];
      before = [];
      const sent = yield* chunkMessages(first, file.chunks(buffers), usableSpans(opened, attempt, state), state);
      if (sent.size === file.size && !(await file.changed())) return sent;
      state.onSent(0, -sent.size);
      state.tries.set(item.path, attempt + 1);
    } finally {
      await file.close();
    }
    if (reading === CHANGING_FILE_READS)
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

function usableSpans(item: LocalEntry, attempt: number, state: UploadState): PersistedFile["spans"] {
  const persisted = state.persisted.get(item.path);
  return persisted?.try === attempt && persisted.size === item.size && persisted.mtimeNs === item.mtimeNs ? persisted.spans : [];
}

// Reads every byte, for the checksum, and sends those that are in no span.
async function* chunkMessages(
  first: UploadMessage[],
  chunks: AsyncIterable<Uint8Array>,
  spans: PersistedFile["spans"],
  state: UploadState,
): AsyncGenerator<UploadMessage[], Sent, undefined> {
  const piecesOf = createPieces(spans);
  let messages = first;
  let size = 0;
  let crc = 0;
  for await (const chunk of chunks) {
    crc = crc32c(chunk, crc);
    size += chunk.length;
    messages.push(...piecesOf(chunk));
    if (messages.length > 0) yield messages;
    messages = [];
    state.onSent(0, chunk.length);
  }
  if (messages.length > 0) yield messages;
  return { size, crc };
}

/** Gives the messages for a file's next bytes: chunks of what the server lacks, and a skip for each span that it has. */
function createPieces(spans: PersistedFile["spans"]): (chunk: Uint8Array) => UploadMessage[] {
  let position = 0;
  let next = 0;
  return (chunk) => {
    const messages: UploadMessage[] = [];
    for (let at = 0; at < chunk.length; ) {
      const span = spans[next];
      const inSpan = span !== undefined && span.offset <= position;
      const end = span === undefined ? Number.POSITIVE_INFINITY : inSpan ? span.offset + span.length : span.offset;
      const length = Math.min(chunk.length - at, end - position);
      if (!inSpan) messages.push({ case: "chunk", value: chunk.subarray(at, at + length) });
      // A span is left out as a whole, when its first byte comes by.
      else if (span.offset === position) messages.push({ case: "skip", value: BigInt(span.length) });
      at += length;
      position += length;
      if (inSpan && position === end) next++;
    }
    return messages;
  };
}

// What there is to say goes on at once: the first bytes may take their time.
async function* sourceMessages(
  before: UploadMessage[],
  { path, size, chunks }: SourceItem,
  state: UploadState,
): AsyncGenerator<UploadMessage[], Sent, undefined> {
  const known = size === undefined ? {} : { size: BigInt(size) };
  const value = create(EntryHeaderSchema, { path, type: EntryType.FILE, try: state.tries.get(path) ?? 0, ...known });
  yield [...before, { case: "file", value }];
  return yield* chunkMessages([], chunks, [], state);
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
