/** Everything that a client can do, over one link to a server. */
import { randomUUID } from "node:crypto";
import { type Timestamp, timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type CollectGarbageResponse,
  type Run as RunMessage,
  type Tag as TagMessage,
  UploadState,
} from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { type Entry as EntryMessage, EntryType } from "../../gen/ts/dstack/artifacts/v1/entries_pb.ts";
import { trimPath } from "../lib/paths.ts";
import { type DownloadOptions, type DownloadResult, downloadFiles, type ReferenceOptions, referenceOf } from "./download.ts";
import { type Doing, toDstackError } from "./errors.ts";
import { openLink } from "./link.ts";
import { type ReadOptions, readFile } from "./read.ts";
import { type ClientOptions, readSettings } from "./settings.ts";
import { type BytesUploadOptions, type FilesUploadOptions, type UploadResult, uploadBytes, uploadFiles } from "./upload.ts";
import { nanosecondsOf } from "./upload-messages.ts";

/** An entry of a listing; what is absent is null. */
export interface Entry {
  /** Whole, from the run's root. */
  readonly path: string;
  readonly type: "file" | "folder" | "link";
  readonly size: number | null;
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

interface Cancellable {
  readonly signal?: AbortSignal | undefined;
}

/** A client of one server. Its failures are `DstackError`s. */
export interface ArtifactsClient {
  /** Uploads the files at a local path. All of them can be seen when it resolves, or none when it rejects. */
  upload(options: FilesUploadOptions): Promise<UploadResult>;
  /** Uploads bytes or a stream as one file. */
  uploadBytes(options: BytesUploadOptions): Promise<UploadResult>;
  /** Downloads the files of a run or a tag. */
  download(options: DownloadOptions): Promise<DownloadResult>;
  /** Reads one file, or part of it, as a stream of bytes; nothing touches the disk. */
  read(options: ReadOptions): AsyncIterable<Uint8Array>;
  list(
    options: ReferenceOptions & { readonly prefix?: string | undefined; readonly recursive?: boolean | undefined } & Cancellable,
  ): Promise<Listing>;
  runs(options?: Cancellable): Promise<readonly Run[]>;
  run(name: string): Promise<Run>;
  /** Gives the tags that went with it. */
  deleteRun(name: string, options?: { readonly force?: boolean | undefined }): Promise<readonly string[]>;
  tags(options?: Cancellable): Promise<readonly Tag[]>;
  tag(name: string): Promise<Tag>;
  createTag(
    name: string,
    options: { readonly run: string; readonly commit?: number | undefined; readonly path?: string | undefined },
  ): Promise<Tag>;
  deleteTag(name: string): Promise<void>;
  /** Adds what a reference shows at a path to a run, in the store, as one commit. */
  copy(
    options: ReferenceOptions & {
      readonly artifactPath?: string | undefined;
      readonly toRun: string;
      readonly toPath?: string | undefined;
    },
  ): Promise<{ readonly run: string; readonly commit: number; readonly files: number; readonly bytes: number }>;
  /** Reads and checks every byte of a reference. */
  verify(
    options: ReferenceOptions & {
      onProgress?: ((progress: { files: number; bytes: number; totalFiles: number; totalBytes: number }) => void) | undefined;
    } & Cancellable,
  ): Promise<VerifyResult>;
  collectGarbage(
    options?: {
      readonly graceMs?: number | undefined;
      readonly dryRun?: boolean | undefined;
      onProgress?: ((progress: GarbageResult) => void) | undefined;
    } & Cancellable,
  ): Promise<GarbageResult>;
  /** Uploads that were begun and not finished; `upload` with an id goes on with it. */
  uploads(): Promise<readonly OpenUpload[]>;
  abortUpload(id: string): Promise<void>;
  /** Ends the connections; calls that run fail. */
  close(): Promise<void>;
}

/** Makes a client. What is not given comes from the environment, now. */
export function createClient(options: ClientOptions = {}): ArtifactsClient {
  const settings = readSettings(options);
  const link = openLink(settings);
  const { service } = link;
  const { project } = settings;
  let reached = false;

  async function doing<T>(what: Doing, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw toDstackError(error, what, settings.url);
    }
  }

  // A server that never answered is told of at once; one that did is waited for.
  const call = <T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> =>
    doing("other", async () => {
      const result = await (reached ? link.retrying(work, signal) : work());
      reached = true;
      return result;
    });

  async function allPages<P extends { nextPageToken: string }, T>(
    fetch: (pageToken: string) => Promise<P>,
    itemsOf: (page: P) => readonly T[],
  ): Promise<T[]> {
    const items: T[] = [];
    let pageToken = "";
    do {
      const page = await call(() => fetch(pageToken));
      items.push(...itemsOf(page));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    return items;
  }

  return {
    upload: (upload) => doing("upload", () => uploadFiles(link, upload)),
    uploadBytes: (upload) => doing("upload", () => uploadBytes(link, upload)),
    download: (download) => doing("download", () => downloadFiles(link, download)),
    async *read(read) {
      try {
        yield* readFile(link, read);
      } catch (error) {
        throw toDstackError(error, "download", settings.url);
      }
    },
    async list({ prefix = "", recursive = false, signal, ...target }) {
      const reference = await doing("other", async () => referenceOf(target));
      const entries: Entry[] = [];
      let pageToken = "";
      for (;;) {
        const page = await call(
          () =>
            service.listEntries(
              { project, reference, prefix: trimPath(prefix), recursive, pageSize: 10_000, pageToken },
              { ...(signal ? { signal } : {}) },
            ),
          signal,
        );
        for (const entry of page.entries) entries.push(toEntry(entry));
        pageToken = page.nextPageToken;
        if (pageToken === "")
          return { entries, files: Number(page.totalFiles), bytes: Number(page.totalBytes), run: page.run, commit: Number(page.commit) };
      }
    },
    runs: () =>
      allPages(
        (pageToken) => service.listRuns({ project, pageToken, pageSize: 1000 }),
        (page) => page.runs.map(toRun),
      ),
    run: async (run) => toRun((await call(() => service.getRun({ project, run }))).run as RunMessage),
    async deleteRun(run, { force = false } = {}) {
      const requestId = randomUUID();
      return (await call(() => service.deleteRun({ project, run, force, requestId }))).tags;
    },
    tags: () =>
      allPages(
        (pageToken) => service.listTags({ project, pageToken, pageSize: 1000 }),
        (page) => page.tags.map(toTag),
      ),
    tag: async (tag) => toTag((await call(() => service.getTag({ project, tag }))).tag as TagMessage),
    async createTag(tag, { run, commit = 0, path = "" }) {
      const requestId = randomUUID();
      return toTag(
        (await call(() => service.createTag({ project, tag, run, commit: BigInt(commit), path: trimPath(path), requestId })))
          .tag as TagMessage,
      );
    },
    async deleteTag(tag) {
      const requestId = randomUUID();
      await call(() => service.deleteTag({ project, tag, requestId }));
    },
    async copy({ artifactPath = "", toRun, toPath, ...source }) {
      const requestId = randomUUID();
      const reference = await doing("other", async () => referenceOf(source));
      const copied = await call(() =>
        service.copy({
          project,
          source: reference,
          sourcePath: trimPath(artifactPath),
          run: toRun,
          requestId,
          ...(toPath === undefined ? {} : { path: trimPath(toPath) }),
        }),
      );
      return { run: copied.run, commit: Number(copied.commit), files: Number(copied.files), bytes: Number(copied.bytes) };
    },
    verify: ({ onProgress, signal, ...target }) =>
      doing("other", async () => {
        const damaged: { path: string; problem: string }[] = [];
        const reference = referenceOf(target);
        for await (const { message } of service.verify({ project, reference }, { ...(signal ? { signal } : {}) })) {
          if (message.case === "damaged") damaged.push({ path: message.value.path, problem: message.value.problem });
          else if (message.case === "progress") {
            const { files, bytes, totalFiles, totalBytes } = message.value;
            onProgress?.({ files: Number(files), bytes: Number(bytes), totalFiles: Number(totalFiles), totalBytes: Number(totalBytes) });
          } else if (message.case === "finish") return { files: Number(message.value.files), bytes: Number(message.value.bytes), damaged };
        }
        throw new Error("the server ended the check before it was complete");
      }),
    collectGarbage: ({ graceMs, dryRun = false, onProgress, signal } = {}) =>
      doing("other", async () => {
        const MS = 1000;
        const grace = graceMs === undefined ? {} : { grace: { seconds: BigInt(Math.floor(graceMs / MS)), nanos: (graceMs % MS) * 1e6 } };
        for await (const progress of service.collectGarbage({ dryRun, ...grace }, { ...(signal ? { signal } : {}) })) {
          if (progress.done) return toGarbage(progress);
          onProgress?.(toGarbage(progress));
        }
        throw new Error("the server ended the collection before it was complete");
      }),
    uploads: () =>
      allPages(
        (pageToken) => service.listUploads({ project, pageToken }),
        (page) =>
          page.uploads.map(({ uploadId, run, tag, created, state }) => ({
            id: uploadId,
            run,
            tag: tag || null,
            created: toDate(created),
            state: state === UploadState.FINISHING ? ("finishing" as const) : ("open" as const),
          })),
      ),
    async abortUpload(uploadId) {
      await call(() => service.abortUpload({ project, uploadId }));
    },
    close: () => link.close(),
  };
}

const TYPES = { [EntryType.FILE]: "file", [EntryType.FOLDER]: "folder", [EntryType.LINK]: "link" } as const;

function toEntry({ path, type, size, mode, mtime, crc32c, linkTarget }: EntryMessage): Entry {
  return {
    path,
    type: TYPES[type as keyof typeof TYPES] ?? "file",
    size: size === undefined ? null : Number(size),
    mode: mode ?? null,
    mtimeNs: mtime ? nanosecondsOf(mtime) : null,
    crc32c: crc32c ?? null,
    linkTarget: linkTarget || null,
  };
}

function toRun({ name, commits, newestCommit, files, bytes, created, tags }: RunMessage): Run {
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

function toTag({ name, run, commit, path, created }: TagMessage): Tag {
  return { name, run, commit: Number(commit), path: path || null, created: toDate(created) };
}

function toDate(timestamp: Timestamp | undefined): Date {
  return timestampDate(timestamp ?? timestampFromDate(new Date(0)));
}

function toGarbage(progress: CollectGarbageResponse): GarbageResult {
  return {
    scannedObjects: Number(progress.scannedObjects),
    condemnedObjects: Number(progress.condemnedObjects),
    condemnedBytes: Number(progress.condemnedBytes),
    deletedObjects: Number(progress.deletedObjects),
    deletedBytes: Number(progress.deletedBytes),
  };
}
