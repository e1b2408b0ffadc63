/** What a client tells of runs, tags and entries, made of the protocol's messages. What is absent is null. */
import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import {
  type CollectGarbageResponse,
  type Run as RunMessage,
  type Tag as TagMessage,
  type Upload,
  UploadState,
} from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { type Entry as EntryMessage, EntryType } from "../../gen/ts/dstack/artifacts/v1/entries_pb.ts";
import { nanosecondsOf } from "./timestamps.ts";

/** An entry of a listing. */
export interface Entry {
  /** Whole, from the run's root. */
  readonly path: string;
  readonly type: "file" | "folder" | "link";
  /** Bytes; null for folders and links. */
  readonly size: number | null;
  /** Permission bits; null for links, and for folders that were never uploaded themselves, as is their time. */
  readonly mode: number | null;
  readonly mtimeNs: bigint | null;
  readonly crc32c: number | null;
  readonly linkTarget: string | null;
}

export interface Listing {
  readonly entries: readonly Entry[];
  /** Files and links under the prefix, at any depth. */
  readonly files: number;
  readonly bytes: number;
  readonly run: string;
  readonly commit: number;
}

export interface Run {
  readonly name: string;
  /** How many there are; the newest may have a higher number, if the run was deleted in between. */
  readonly commits: number;
  readonly newestCommit: number;
  readonly files: number;
  readonly bytes: number;
  readonly created: Date;
  readonly tags: readonly string[];
}

export interface Tag {
  readonly name: string;
  readonly run: string;
  readonly commit: number;
  /** What is shown; null for everything. */
  readonly path: string | null;
  readonly created: Date;
}

/** An upload that was begun and not finished. */
export interface OpenUpload {
  readonly id: string;
  readonly run: string;
  readonly tag: string | null;
  readonly created: Date;
  readonly state: "open" | "finishing";
}

export interface VerifyResult {
  readonly files: number;
  readonly bytes: number;
  readonly damaged: readonly { readonly path: string; readonly problem: string }[];
}

export interface GarbageResult {
  readonly scannedObjects: number;
  readonly condemnedObjects: number;
  readonly condemnedBytes: number;
  readonly deletedObjects: number;
  readonly deletedBytes: number;
}

const TYPES: Readonly<Record<number, Entry["type"]>> = { [EntryType.FOLDER]: "folder", [EntryType.LINK]: "link" };

export function toEntry({ path, type, size, mode, mtime, crc32c, linkTarget }: EntryMessage): Entry {
  return {
    path,
    type: TYPES[type] ?? "file",
    size: size === undefined ? null : Number(size),
    mode: mode ?? null,
    mtimeNs: mtime ? nanosecondsOf(mtime) : null,
    crc32c: crc32c ?? null,
    linkTarget: linkTarget || null,
  };
}

export function toRun({ name, commits, newestCommit, files, bytes, created, tags }: RunMessage): Run {
  return {
    name,
    commits: Number(commits),
    newestCommit: Number(newestCommit),
    files: Number(files),
    bytes: Number(bytes),
    created: toDate(created),
    tags,
  };
}

export function toTag({ name, run, commit, path, created }: TagMessage): Tag {
  return { name, run, commit: Number(commit), path: path || null, created: toDate(created) };
}

export function toOpenUpload({ uploadId, run, tag, created, state }: Upload): OpenUpload {
  return { id: uploadId, run, tag: tag || null, created: toDate(created), state: state === UploadState.FINISHING ? "finishing" : "open" };
}

export function toGarbage(progress: CollectGarbageResponse): GarbageResult {
  return {
    scannedObjects: Number(progress.scannedObjects),
    condemnedObjects: Number(progress.condemnedObjects),
    condemnedBytes: Number(progress.condemnedBytes),
    deletedObjects: Number(progress.deletedObjects),
    deletedBytes: Number(progress.deletedBytes),
  };
}

function toDate(timestamp: Timestamp | undefined): Date {
  return timestamp === undefined ? new Date(0) : timestampDate(timestamp);
}
