/** The protocol's messages and the domain's types, one into the other. */
import { create } from "@bufbuild/protobuf";
import { type Duration, type Timestamp, TimestampSchema, timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type Reference as ReferenceMessage,
  type UploadResponse,
  UploadResponseSchema,
} from "../../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import {
  type EntryHeader,
  EntryHeaderSchema,
  type Entry as EntryMessage,
  EntrySchema,
  EntryType as EntryTypeMessage,
  type FileEnd,
  FileEndSchema,
} from "../../../gen/ts/dstack/artifacts/v1/entries_pb.ts";
import { ArtifactsFailure } from "../../artifacts/errors.ts";
import type { Committed, Entry, EntryType, PageRequest, Reference, UploadHeader } from "../../artifacts/types.ts";

const NS_PER_SECOND = 1_000_000_000n;
/** Of a Timestamp: from year 1 to the end of year 9999. */
const MIN_SECONDS = -62_135_596_800n;
const MAX_SECONDS = 253_402_300_799n;
/** Of a Duration: 10,000 years. */
const MAX_DURATION_SECONDS = 315_576_000_000n;
const MS_PER_SECOND = 1_000;
const NS_PER_MS = 1_000_000;
const MAX_MODE = 0o7777;

const TYPES: Readonly<Record<EntryType, EntryTypeMessage>> = {
  file: EntryTypeMessage.FILE,
  folder: EntryTypeMessage.FOLDER,
  link: EntryTypeMessage.LINK,
};

export function invalid(message: string): ArtifactsFailure {
  return new ArtifactsFailure("MESSAGE_INVALID", message);
}

const MAX_NUMBER = BigInt(Number.MAX_SAFE_INTEGER);

/** A uint64 as a number. */
export function toNumber(value: bigint, what: string): number {
  if (value > MAX_NUMBER) throw invalid(`${what} ${value} is too large`);
  return Number(value);
}

export function toTimestamp(ns: bigint): Timestamp {
  const nanos = ((ns % NS_PER_SECOND) + NS_PER_SECOND) % NS_PER_SECOND;
  return { $typeName: TimestampSchema.typeName, seconds: (ns - nanos) / NS_PER_SECOND, nanos: Number(nanos) };
}

/** The time of an entry, in nanoseconds since 1970. */
function fromTimestamp({ seconds, nanos }: Timestamp, path: string): bigint {
  const valid = seconds >= MIN_SECONDS && seconds <= MAX_SECONDS && nanos >= 0 && BigInt(nanos) < NS_PER_SECOND;
  if (!valid) throw invalid(`${shown(path)} has a time that no Timestamp can have`);
  return seconds * NS_PER_SECOND + BigInt(nanos);
}

export { timestampFromDate };

/** A period from now on in milliseconds, rounded up: the shortest one is not none. */
export function fromDuration({ seconds, nanos }: Duration, what: string): number {
  const valid = seconds >= 0n && seconds <= MAX_DURATION_SECONDS && nanos >= 0 && BigInt(nanos) < NS_PER_SECOND;
  if (!valid) throw invalid(`${what} is below zero, or one that no Duration can have`);
  return Number(seconds) * MS_PER_SECOND + Math.ceil(nanos / NS_PER_MS);
}

export function toReference(message: ReferenceMessage | undefined): Reference {
  const target = message?.target;
  if (target?.case === "tag") return { tag: target.value };
  if (target?.case !== "run") throw new ArtifactsFailure("REFERENCE_INVALID", "a reference names a run or a tag, and this one neither");
  const { name, commit } = target.value;
  return commit === 0n ? { run: name } : { run: name, commit: toNumber(commit, "commit") };
}

export function toPage({ pageSize, pageToken }: { pageSize: number; pageToken: string }): PageRequest {
  return { pageSize, pageToken };
}

export function toHeader(message: EntryHeader): UploadHeader {
  const { path, size, mode, mtime, linkTarget } = message;
  if (mode !== undefined && mode > MAX_MODE) throw invalid(`${shown(path)} has a mode that isn't permission bits`);
  if (size !== undefined && size > MAX_NUMBER) throw invalid(`the size of ${shown(path)} ${size} is too large`);
  return {
    path,
    type: toType(message),
    size: size === undefined ? undefined : Number(size),
    mode,
    mtimeNs: mtime === undefined ? undefined : fromTimestamp(mtime, path),
    linkTarget,
    try: message.try,
  };
}

/** A path that may be anything, in a message. */
function shown(path: string): string {
  return JSON.stringify(path.slice(0, 1_024));
}

function toType({ type, path }: EntryHeader): EntryType {
  if (type === EntryTypeMessage.FILE) return "file";
  if (type === EntryTypeMessage.FOLDER) return "folder";
  if (type === EntryTypeMessage.LINK) return "link";
  throw invalid(`${shown(path)} has no type, or one that this server doesn't know`);
}

export function fromEntry(entry: Entry): EntryMessage {
  return addFields({ $typeName: EntrySchema.typeName, path: entry.path, type: TYPES[entry.type], linkTarget: "" }, entry);
}

export function fromEntryHeader(entry: Entry, offset: number): EntryHeader {
  const fixed = { path: entry.path, type: TYPES[entry.type], linkTarget: "", try: 0, offset: BigInt(offset) };
  return addFields<EntryHeader>({ $typeName: EntryHeaderSchema.typeName, ...fixed }, entry);
}

/** Adds the fields that headers and listings share. Not by `create`, which takes several times as long: each small file has some. */
function addFields<M extends EntryMessage | EntryHeader>(message: M, { size, mode, mtimeNs, crc32c, linkTarget }: Entry): M {
  if (size !== undefined) message.size = BigInt(size);
  if (mode !== undefined) message.mode = mode;
  if (mtimeNs !== undefined) message.mtime = toTimestamp(mtimeNs);
  if (crc32c !== undefined) message.crc32c = crc32c;
  if (linkTarget !== undefined) message.linkTarget = linkTarget;
  return message;
}

export function fromFileEnd(size: number, crc32c: number): FileEnd {
  return { $typeName: FileEndSchema.typeName, size: BigInt(size), crc32c };
}

export function fromCommitted({ project, run, commit, tag = "", files, bytes }: Committed): UploadResponse {
  return create(UploadResponseSchema, { project, run, commit: BigInt(commit), tag, files: BigInt(files), bytes: BigInt(bytes) });
}
