/** Everything that a client can do, over one link to a server. */
import { randomUUID } from "node:crypto";
import type { CallOptions } from "@connectrpc/connect";
import { type DownloadOptions, type DownloadResult, downloadFiles } from "./download.ts";
import { type Doing, DstackError, toDstackError } from "./errors.ts";
import { openLink, type Service } from "./link.ts";
import type { OnProgress } from "./progress.ts";
import { type ReadOptions, readFile } from "./read.ts";
import { type ReferenceOptions, referenceOf } from "./reference.ts";
import {
  type Entry,
  type GarbageResult,
  type Listing,
  type OpenUpload,
  type Run,
  type Tag,
  toEntry,
  toGarbage,
  toOpenUpload,
  toRun,
  toTag,
  type VerifyResult,
} from "./results.ts";
import { type ClientOptions, readSettings } from "./settings.ts";
import { type BytesUploadOptions, type FilesUploadOptions, type UploadResult, uploadBytes, uploadFiles } from "./upload.ts";

export interface Cancellable {
  /** Ends the call, which then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

export interface ListOptions extends ReferenceOptions, Cancellable {
  /** Only this entry, or what is in this folder; default everything. */
  readonly prefix?: string | undefined;
  /** At any depth; default one level, with its folders as entries. */
  readonly recursive?: boolean | undefined;
}

export interface CreateTagOptions extends Cancellable {
  readonly run: string;
  /** Default the newest. */
  readonly commit?: number | undefined;
  /** A file, or a folder, that the tag shows; default everything. */
  readonly path?: string | undefined;
}

export interface CopyOptions extends ReferenceOptions, Cancellable {
  /** A file, or a folder, whose contents are copied; default everything. */
  readonly artifactPath?: string | undefined;
  readonly toRun: string;
  /** Where it goes in the run; default the same path. */
  readonly toPath?: string | undefined;
}

export interface VerifyOptions extends ReferenceOptions, Cancellable {
  /** Told about once a second how far it is. */
  readonly onProgress?: ((progress: { files: number; bytes: number; totalFiles: number; totalBytes: number }) => void) | undefined;
}

export interface GarbageOptions extends Cancellable {
  /** How long an object must have been unreachable, in milliseconds; default 24 hours. */
  readonly graceMs?: number | undefined;
  /** Changes nothing. */
  readonly dryRun?: boolean | undefined;
  readonly onProgress?: ((progress: GarbageResult) => void) | undefined;
}

/** A client of one server. What fails is a `DstackError`. */
export interface ArtifactsClient {
  /** Uploads the files at a local path. All of them can be seen when it resolves, or none when it rejects. */
  upload(options: FilesUploadOptions): Promise<UploadResult>;
  /** Uploads bytes or a stream as one file. */
  uploadBytes(options: BytesUploadOptions): Promise<UploadResult>;
  /** Downloads the files of a run or a tag. */
  download(options: DownloadOptions): Promise<DownloadResult>;
  /**
   * Reads one file, or part of it, as a stream of bytes; nothing touches the disk. A client has up to 100 calls at once under way, and more wait:
   * a read that was begun, and is neither read on nor left, is one of them.
   */
  read(options: ReadOptions): AsyncGenerator<Uint8Array, void, undefined>;
  /** Tells what a run or a tag shows, sorted by path: a folder comes right before what is in it. */
  list(options: ListOptions): Promise<Listing>;
  /** Runs by name. */
  runs(options?: Cancellable): Promise<readonly Run[]>;
  run(name: string, options?: Cancellable): Promise<Run>;
  /** Gives the tags that went with it; without `force`, a run that has some is not deleted. */
  deleteRun(name: string, options?: { readonly force?: boolean | undefined } & Cancellable): Promise<readonly string[]>;
  /** Tags by name. */
  tags(options?: Cancellable): Promise<readonly Tag[]>;
  tag(name: string, options?: Cancellable): Promise<Tag>;
  createTag(name: string, options: CreateTagOptions): Promise<Tag>;
  /** Deletes a tag; its run stays. */
  deleteTag(name: string, options?: Cancellable): Promise<void>;
  /** Adds what a reference shows at a path to a run, in the store, as one commit. */
  copy(options: CopyOptions): Promise<{ readonly run: string; readonly commit: number; readonly files: number; readonly bytes: number }>;
  /** Reads and checks every byte of a reference. */
  verify(options: VerifyOptions): Promise<VerifyResult>;
  /** Removes what nothing reaches, in all projects. */
  collectGarbage(options?: GarbageOptions): Promise<GarbageResult>;
  /** Uploads that were begun and not finished; `upload` with `resume` goes on with one. */
  uploads(options?: Cancellable): Promise<readonly OpenUpload[]>;
  /** Ends an upload, so that it can never be finished. */
  abortUpload(id: string, options?: Cancellable): Promise<void>;
  /** Ends the connection; calls that run fail. */
  close(): Promise<void>;
}

const MS_PER_SECOND = 1_000;
const NS_PER_MS = 1_000_000;
const LIST_PAGE = 10_000;
const NAMES_PAGE = 1_000;

/** Makes a client. What is not given comes from the environment, now. */
export function createClient(options: ClientOptions = {}): ArtifactsClient {
  const settings = readSettings(options);
  const link = openLink(settings);
  const { project } = settings;

  async function doing<T>(what: Doing, work: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      throw toDstackError(error, what, settings.url);
    }
  }

  /** Shows how far a transfer is, where a person looks and nobody else is told. */
  async function showing<O extends { readonly onProgress?: OnProgress }, T>(
    verb: string,
    options: O,
    work: (options: O) => Promise<T>,
  ): Promise<T> {
    if (options.onProgress !== undefined || !settings.progress || !process.stderr.isTTY) return work(options);
    const { createProgressBar } = await import("./progress-bar.ts");
    const bar = createProgressBar(verb, false);
    try {
      return await work({ ...options, onProgress: (progress) => bar?.update(progress) });
    } finally {
      bar?.stop();
    }
  }

  const call = <T>(make: (service: Service, options: CallOptions) => Promise<T>, { signal }: Cancellable = {}): Promise<T> =>
    doing("other", () => link.call(make, { signal }), signal);

  async function allPages<P extends { nextPageToken: string }, T>(
    fetch: (service: Service, page: { project: string; pageToken: string; pageSize: number }, options: CallOptions) => Promise<P>,
    itemsOf: (page: P) => readonly T[],
    cancellable: Cancellable = {},
  ): Promise<T[]> {
    const items: T[] = [];
    for (let pageToken = ""; ; ) {
      const request = { project, pageToken, pageSize: NAMES_PAGE };
      const page = await call((service, options) => fetch(service, request, options), cancellable);
      for (const item of itemsOf(page)) items.push(item);
      if (page.nextPageToken === "") return items;
      pageToken = page.nextPageToken;
    }
  }

  return {
    upload: (upload) => doing("upload", () => showing("uploading", upload, (options) => uploadFiles(link, options)), upload.signal),
    uploadBytes: (upload) => doing("upload", () => showing("uploading", upload, (options) => uploadBytes(link, options)), upload.signal),
    download: (download = {}) =>
      doing("download", () => showing("downloading", download, (options) => downloadFiles(link, options)), download.signal),
    async *read(read) {
      try {
        yield* readFile(link, read);
      } catch (error) {
        if (read.signal?.aborted) throw read.signal.reason;
        throw toDstackError(error, "download", settings.url);
      }
    },
    async list({ prefix = "", recursive = false, signal, ...target }) {
      const reference = referenceOf(target);
      const entries: Entry[] = [];
      for (let pageToken = ""; ; ) {
        const request = { project, reference, prefix, recursive, pageSize: LIST_PAGE, pageToken };
        const page = await call((service, options) => service.listEntries(request, options), { signal });
        for (const entry of page.entries) entries.push(toEntry(entry));
        pageToken = page.nextPageToken;
        const { totalFiles, totalBytes, run, commit } = page;
        if (pageToken === "") return { entries, files: Number(totalFiles), bytes: Number(totalBytes), run, commit: Number(commit) };
      }
    },
    runs: (cancellable) =>
      allPages(
        (service, request, options) => service.listRuns(request, options),
        (page) => page.runs.map(toRun),
        cancellable,
      ),
    async run(run, cancellable) {
      return toRun(present((await call((service, options) => service.getRun({ project, run }, options), cancellable)).run));
    },
    async deleteRun(run, { force = false, signal } = {}) {
      const request = { project, run, force, requestId: randomUUID() };
      return (await call((service, options) => service.deleteRun(request, options), { signal })).tags;
    },
    tags: (cancellable) =>
      allPages(
        (service, request, options) => service.listTags(request, options),
        (page) => page.tags.map(toTag),
        cancellable,
      ),
    async tag(tag, cancellable) {
      return toTag(present((await call((service, options) => service.getTag({ project, tag }, options), cancellable)).tag));
    },
    async createTag(tag, { run, commit = 0, path = "", signal }) {
      const request = { project, tag, run, commit: toCommit(commit), path, requestId: randomUUID() };
      return toTag(present((await call((service, options) => service.createTag(request, options), { signal })).tag));
    },
    async deleteTag(tag, cancellable) {
      const request = { project, tag, requestId: randomUUID() };
      await call((service, options) => service.deleteTag(request, options), cancellable);
    },
    async copy({ artifactPath = "", toRun: run, toPath, signal, ...source }) {
      const path = toPath === undefined ? {} : { path: toPath };
      const requestId = randomUUID();
      const request = { project, source: referenceOf(source), sourcePath: artifactPath, run, requestId, ...path };
      const copied = await call((service, options) => service.copy(request, options), { signal });
      return { run: copied.run, commit: Number(copied.commit), files: Number(copied.files), bytes: Number(copied.bytes) };
    },
    async verify({ onProgress, signal, ...target }) {
      const request = { project, reference: referenceOf(target) };
      const verify = async () => {
        const damaged: { path: string; problem: string }[] = [];
        for await (const { message } of link.service.verify(request, signal ? { signal } : {})) {
          if (message.case === "damaged") damaged.push({ path: message.value.path, problem: message.value.problem });
          else if (message.case === "progress") {
            const { files, bytes, totalFiles, totalBytes } = message.value;
            onProgress?.({ files: Number(files), bytes: Number(bytes), totalFiles: Number(totalFiles), totalBytes: Number(totalBytes) });
          } else if (message.case === "finish") return { files: Number(message.value.files), bytes: Number(message.value.bytes), damaged };
        }
        throw new DstackError("the server ended the check before it was complete");
      };
      return doing("other", verify, signal);
    },
    async collectGarbage({ graceMs, dryRun = false, onProgress, signal } = {}) {
      const grace = graceMs === undefined ? {} : { grace: durationOf(graceMs) };
      const collect = async () => {
        for await (const progress of link.service.collectGarbage({ dryRun, ...grace }, signal ? { signal } : {})) {
          if (progress.done) return toGarbage(progress);
          onProgress?.(toGarbage(progress));
        }
        throw new DstackError("the server ended the collection before it was complete");
      };
      return doing("other", collect, signal);
    },
    uploads: (cancellable) =>
      allPages(
        (service, request, options) => service.listUploads(request, options),
        (page) => page.uploads.map(toOpenUpload),
        cancellable,
      ),
    async abortUpload(uploadId, cancellable) {
      await call((service, options) => service.abortUpload({ project, uploadId }, options), cancellable);
    },
    close: () => link.close(),
  };
}

function present<T>(message: T | undefined): T {
  if (message === undefined) throw new DstackError("the server gave an empty answer");
  return message;
}

function toCommit(commit: number): bigint {
  if (Number.isSafeInteger(commit) && commit >= 0) return BigInt(commit);
  throw new DstackError(`commit ${commit} must be a whole number from 1`);
}

function durationOf(ms: number): { seconds: bigint; nanos: number } {
  const seconds = Math.floor(ms / MS_PER_SECOND);
  return { seconds: BigInt(seconds), nanos: Math.round((ms - seconds * MS_PER_SECOND) * NS_PER_MS) };
}
