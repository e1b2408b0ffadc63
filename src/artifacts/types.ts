/** The words that this room and its callers share. Sizes and offsets are bytes, times nanoseconds since 1970 unless they are a `Date`. */

export type EntryType = "file" | "folder" | "link";

/** An entry of a run, without its bytes. */
export interface Entry {
  readonly path: string;
  readonly type: EntryType;
  /** Of a file. */
  readonly size?: number;
  /** Permission bits, 0 to 0o777; absent for links and for folders that were never uploaded themselves. */
  readonly mode?: number;
  /** Absent for folders that were never uploaded themselves. */
  readonly mtimeNs?: bigint;
  /** CRC32C of a file. */
  readonly crc32c?: number;
  /** Of a link. */
  readonly linkTarget?: string;
}

/** Begins an entry of an upload. */
export interface UploadHeader {
  readonly path: string;
  readonly type: EntryType;
  /** Of a file, if it is known. */
  readonly size?: number | undefined;
  readonly mode?: number | undefined;
  readonly mtimeNs?: bigint | undefined;
  readonly linkTarget?: string | undefined;
  /** How many times the file was begun before, because it had changed. */
  readonly try?: number | undefined;
}

export interface FileEnd {
  readonly size: number;
  readonly crc32c: number;
}

/** What an upload is for: exactly one of `run` and `tag`. */
export interface UploadTarget {
  readonly project: string;
  readonly uploadId: string;
  readonly run?: string | undefined;
  /** Whether the client named no run, and `run` is the server's current one; an upload that goes on keeps the run it began with. */
  readonly runAssigned?: boolean | undefined;
  readonly tag?: string | undefined;
}

export interface Committed {
  readonly project: string;
  readonly run: string;
  readonly commit: number;
  readonly tag?: string;
  readonly files: number;
  readonly bytes: number;
}

/**
 * One server's work on one upload. Calls follow each other in the protocol's order, each after the one before has resolved. When one
 * rejects, nothing more can be done with the session but `close`.
 */
/** A promise that a method returns is backpressure: give nothing more until it resolves. `undefined`: more is welcome at once. */
export interface UploadSession {
  readonly run: string;
  /** Set when the upload was committed before: every further call is accepted and ignored, and `finish` gives this. */
  readonly committed: Committed | undefined;
  /** Begins an entry. */
  file(header: UploadHeader): Promise<void> | undefined;
  /** Takes the next bytes of the file, as a copy. */
  chunk(bytes: Uint8Array): Promise<void> | undefined;
  /** The next `length` bytes of the file are persisted already. */
  skip(length: number): Promise<void>;
  /** Ends the file that was begun. */
  endFile(end: FileEnd): Promise<void> | undefined;
  /** Commits. When it resolves, the commit is durable and visible. */
  finish(counts: { files: number; bytes: number }): Promise<Committed>;
  /** Lets go of the upload, persisting what arrived so that it can go on later; after `finish`, frees what it holds. Never rejects. */
  close(): Promise<void>;
}

export interface PersistedFile {
  readonly path: string;
  readonly size?: number;
  readonly mtimeNs: bigint;
  readonly try: number;
  readonly spans: readonly { offset: number; length: number }[];
}

export type UploadState = "open" | "finishing" | "committed" | "aborted";

export interface UploadInfo {
  readonly uploadId: string;
  readonly run: string;
  readonly tag?: string;
  readonly created: Date;
  readonly state: UploadState;
  readonly committed?: Committed;
}

export type Reference = { readonly run: string; readonly commit?: number | undefined } | { readonly tag: string };

/** Asks for a page of anything. */
export interface PageRequest {
  /** 0 or absent means the protocol's default. */
  readonly pageSize?: number;
  /** Empty or absent means the first page. */
  readonly pageToken?: string;
}

export interface DownloadQuery {
  readonly project: string;
  readonly reference: Reference;
  readonly path?: string;
  readonly range?: { offset: number; length?: number };
  readonly startAfter?: string;
  readonly endAt?: string;
  readonly held?: ReadonlyMap<string, number>;
}

/** What a download is made of, in the protocol's order. */
export type DownloadEvent =
  | { readonly type: "start"; readonly run: string; readonly commit: number }
  /** `offset`: where in the file the chunks begin. */
  | { readonly type: "file"; readonly entry: Entry; readonly offset: number }
  /** The bytes stay until the next batch of events is asked for. */
  | { readonly type: "chunk"; readonly bytes: Uint8Array }
  | { readonly type: "fileEnd"; readonly size: number; readonly crc32c: number }
  | { readonly type: "finish"; readonly files: number; readonly bytes: number };

export interface EntryPage {
  readonly entries: readonly Entry[];
  readonly nextPageToken: string;
  readonly totalFiles: number;
  readonly totalBytes: number;
  readonly run: string;
  readonly commit: number;
}

export interface RunInfo {
  readonly name: string;
  readonly commits: number;
  readonly newestCommit: number;
  readonly files: number;
  readonly bytes: number;
  readonly created: Date;
  readonly tags: readonly string[];
}

export interface TagInfo {
  readonly name: string;
  readonly run: string;
  readonly commit: number;
  /** Empty for everything. */
  readonly path: string;
  readonly created: Date;
}

export interface CopyQuery {
  readonly project: string;
  readonly source: Reference;
  readonly sourcePath: string;
  readonly run: string;
  /** Absent means `sourcePath`. */
  readonly path?: string;
  readonly requestId?: string;
}

export type VerifyEvent =
  | { readonly type: "progress"; readonly files: number; readonly bytes: number; readonly totalFiles: number; readonly totalBytes: number }
  | { readonly type: "damaged"; readonly path: string; readonly problem: string }
  | { readonly type: "finish"; readonly files: number; readonly bytes: number; readonly damaged: number };

export interface GarbageProgress {
  readonly scannedObjects: number;
  readonly condemnedObjects: number;
  readonly condemnedBytes: number;
  readonly deletedObjects: number;
  readonly deletedBytes: number;
  readonly done: boolean;
}

export interface CallContext {
  /** Ends the call early. */
  readonly signal?: AbortSignal;
}

/**
 * Everything that can be done with the artifacts of one store. Names, paths and ids are checked here, whoever calls. Failures are
 * `ArtifactsFailure` (what the caller did, or met) or `StoreError` (what the store did).
 */
export interface Artifacts {
  /** Claims a generated name for a server's current run. */
  claimRun(project: string): Promise<string>;
  startUpload(target: UploadTarget, context?: CallContext): Promise<UploadSession>;
  getUpload(
    project: string,
    uploadId: string,
    page?: PageRequest,
  ): Promise<{ upload: UploadInfo; files: readonly PersistedFile[]; nextPageToken: string }>;
  listUploads(project: string, page?: PageRequest): Promise<{ uploads: readonly UploadInfo[]; nextPageToken: string }>;
  abortUpload(project: string, uploadId: string): Promise<void>;
  /** Iterating it to its end is the download; leaving it early frees what it holds. Events come in batches. */
  download(query: DownloadQuery, context?: CallContext): AsyncIterable<readonly DownloadEvent[]>;
  listEntries(project: string, reference: Reference, query: { prefix?: string; recursive?: boolean } & PageRequest): Promise<EntryPage>;
  getRun(project: string, run: string): Promise<RunInfo>;
  listRuns(project: string, page?: PageRequest): Promise<{ runs: readonly RunInfo[]; nextPageToken: string }>;
  /** Gives the tags that went with it. */
  deleteRun(project: string, run: string, options?: { force?: boolean; requestId?: string }): Promise<readonly string[]>;
  createTag(project: string, tag: string, target: { run: string; commit?: number; path?: string; requestId?: string }): Promise<TagInfo>;
  getTag(project: string, tag: string): Promise<TagInfo>;
  listTags(project: string, page?: PageRequest): Promise<{ tags: readonly TagInfo[]; nextPageToken: string }>;
  deleteTag(project: string, tag: string, options?: { requestId?: string }): Promise<void>;
  copy(query: CopyQuery, context?: CallContext): Promise<Committed>;
  verify(project: string, reference: Reference, context?: CallContext): AsyncIterable<VerifyEvent>;
  collectGarbage(options: { graceMs?: number; dryRun?: boolean }, context?: CallContext): AsyncIterable<GarbageProgress>;
  /** Resolves when the store answers; for readiness. */
  checkStore(context?: CallContext): Promise<void>;
  /** Ends what works in the background and closes the store. */
  close(): Promise<void>;
}
