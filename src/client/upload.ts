/** Uploads: sends everything in one stream, and takes it up again where it was cut off. */
import { randomUUID } from "node:crypto";
import fs from "node:fs";
import { create } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { UploadStartSchema } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { failureOf } from "../wire/status.ts";
import { artifactPathOf, expandHome } from "./artifact-path.ts";
import { ArtifactsUploadError } from "./errors.ts";
import type { Link } from "./link.ts";
import { createPatience } from "./retry.ts";
import { checkName } from "./settings.ts";
import { nanosecondsOf, type Persisted, type UploadItem, uploadMessages } from "./upload-messages.ts";
import { walk } from "./walk.ts";

export interface UploadOptions {
  /** Makes a new run of a generated name, and this tag for it. Not together with `run`. */
  readonly tag?: string | undefined;
  /** Adds to this run; default the current one. */
  readonly run?: string | undefined;
  /** Ends the upload; it then rejects with the signal's reason, and nothing of it can be seen. */
  readonly signal?: AbortSignal | undefined;
  /** Goes on with the upload of this id, which must have been begun with the same files, run and tag. */
  readonly uploadId?: string | undefined;
  /** Told about ten times a second how far it is. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

export interface FilesUploadOptions extends UploadOptions {
  /** A folder, whose contents are uploaded, or a file. `~` is expanded. */
  readonly localPath: string;
  /** Where they go in the run; default the same path. `""`, `.` and `/` are the run's root. */
  readonly artifactPath?: string | undefined;
  /** `follow` (default) uploads what symbolic links point to, `preserve` the links themselves, if they stay inside. */
  readonly symlinks?: "follow" | "preserve" | undefined;
  /** Told of sockets, FIFOs and devices, which are left out; default a warning of the process. */
  readonly onSkipped?: ((path: string) => void) | undefined;
}

export interface BytesUploadOptions extends UploadOptions {
  /** What the bytes become in the run. */
  readonly artifactPath: string;
  /** The bytes. A stream can be read once, so that an upload of one can't be taken up again when the connection is lost. */
  readonly source: Uint8Array | string | AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

export interface Progress {
  readonly files: number;
  /** Bytes so far, those that the server had already included. */
  readonly bytes: number;
  readonly totalFiles: number | undefined;
  readonly totalBytes: number | undefined;
}

export interface UploadResult {
  readonly run: string;
  /** The commit's number in the run, from 1. */
  readonly commit: number;
  readonly tag: string | null;
  /** Files and links. */
  readonly files: number;
  readonly bytes: number;
  /** Sockets, FIFOs and devices that were left out. */
  readonly skipped: number;
}

const PROGRESS_MS = 100;
const PERSISTED_PAGE = 10_000;
/** How often a file whose bytes arrived damaged is sent again. */
const DAMAGED_TRIES = 3;

export async function uploadFiles(link: Link, options: FilesUploadOptions): Promise<UploadResult> {
  const local = expandHome(options.localPath);
  if (options.localPath === "") throw new ArtifactsUploadError("the local path is empty: name a folder or a file");
  const stats = fs.statSync(local, { throwIfNoEntry: false });
  if (!stats) throw new ArtifactsUploadError(`${options.localPath} does not exist`);
  const path = artifactPathOf(local, options.artifactPath, !stats.isDirectory());
  const skipped = new Set<string>();
  const { onSkipped = (file: string) => process.emitWarning(`${file} is not a file or folder, and was left out`) } = options;
  const items = () =>
    walk(local, path, {
      symlinks: options.symlinks ?? "follow",
      onSkipped(file) {
        if (!skipped.has(file)) onSkipped(file);
        skipped.add(file);
      },
    });
  const result = await upload(link, items, options);
  return { ...result, skipped: skipped.size };
}

export async function uploadBytes(link: Link, options: BytesUploadOptions): Promise<UploadResult> {
  const path = artifactPathOf("", options.artifactPath, true);
  const { source } = options;
  const whole = typeof source === "string" ? Buffer.from(source) : source instanceof Uint8Array ? source : undefined;
  let used = false;
  const items = (): UploadItem[] => {
    if (used && !whole) throw new ArtifactsUploadError("the connection was lost, and a stream can't be read again: upload it once more");
    used = true;
    return [
      {
        path,
        bytes: whole
          ? fromIterable([whole])
          : Symbol.asyncIterator in (source as object)
            ? (source as AsyncIterable<Uint8Array>)
            : fromIterable(source as Iterable<Uint8Array>),
      },
    ];
  };
  return { ...(await upload(link, items, options)), skipped: 0 };
}

async function* fromIterable(parts: Iterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  yield* parts;
}

async function upload(link: Link, items: () => Iterable<UploadItem>, options: UploadOptions): Promise<Omit<UploadResult, "skipped">> {
  const { signal } = options;
  const { settings } = link;
  const fail = (message: string) => new ArtifactsUploadError(message);
  if (options.run !== undefined && options.tag !== undefined)
    throw fail("run and tag were both given: an upload goes to a run, or to a new one that the tag names");
  if (options.tag !== undefined) checkName("tag", options.tag, fail);
  const run = options.run ?? (options.tag === undefined ? settings.run : undefined);
  if (run !== undefined) checkName("run", run, fail);
  signal?.throwIfAborted();
  await refuseTaken(link, options);

  const uploadId = options.uploadId ?? randomUUID();
  const start = create(UploadStartSchema, {
    uploadId,
    project: settings.project,
    target:
      options.tag !== undefined
        ? { case: "tag", value: options.tag }
        : run !== undefined
          ? { case: "run", value: run }
          : { case: undefined },
  });
  const patience = createPatience(settings.timeoutMs);
  const tries = new Map<string, number>();
  let persisted = options.uploadId === undefined ? NOTHING : await loadPersisted(link, uploadId, signal);
  let damaged = 0;
  for (;;) {
    const meter = createMeter(options.onProgress, options.onProgress && totalsOf(items));
    try {
      const messages = uploadMessages(start, items(), { tries, persisted: persisted.files, onBytes: meter.onBytes, onFile: meter.onFile });
      const response = await link.transfers.upload(messages, { signal, timeoutMs: settings.timeoutMs });
      meter.end();
      return {
        run: response.run,
        commit: Number(response.commit),
        tag: response.tag || null,
        files: Number(response.files),
        bytes: Number(response.bytes),
      };
    } catch (error) {
      const { reason, metadata } =
        error instanceof ConnectError ? failureOf(error) : { reason: undefined, metadata: {} as Record<string, string> };
      const path = metadata["path"];
      if ((reason === "CHECKSUM_MISMATCH" || reason === "PERSISTED_MISSING") && path !== undefined && ++damaged < DAMAGED_TRIES) {
        tries.set(path, (tries.get(path) ?? 0) + 1);
      } else {
        await patience.wait(error, signal);
      }
      const now = await loadPersisted(link, uploadId, signal);
      if (now.bytes > persisted.bytes) patience.progressed();
      persisted = now;
    }
  }
}

// A tag that exists is refused before any file is sent; the server decides again at the end.
async function refuseTaken(link: Link, { tag, uploadId }: UploadOptions): Promise<void> {
  if (tag === undefined || uploadId !== undefined) {
    await link.service.getServerInfo({});
    return;
  }
  try {
    await link.service.getTag({ project: link.settings.project, tag });
  } catch (error) {
    if (error instanceof ConnectError && failureOf(error).reason === "TAG_NOT_FOUND") return;
    throw error;
  }
  throw new ArtifactsUploadError(`tag ${JSON.stringify(tag)} already exists`, { reason: "TAG_EXISTS" });
}

const NOTHING = { files: new Map<string, Persisted>(), bytes: 0 };

async function loadPersisted(
  link: Link,
  uploadId: string,
  signal: AbortSignal | undefined,
): Promise<{ files: Map<string, Persisted>; bytes: number }> {
  const files = new Map<string, Persisted>();
  let bytes = 0;
  let pageToken = "";
  do {
    let page: Awaited<ReturnType<typeof link.service.getUpload>>;
    try {
      page = await link.retrying(
        () => link.service.getUpload({ project: link.settings.project, uploadId, pageSize: PERSISTED_PAGE, pageToken }),
        signal,
      );
    } catch (error) {
      // It was cut off before the server had begun it.
      if (error instanceof ConnectError && failureOf(error).reason === "UPLOAD_NOT_FOUND") return NOTHING;
      throw error;
    }
    for (const file of page.files) {
      const spans = file.spans.map(({ offset, length }) => ({ offset: Number(offset), length: Number(length) }));
      for (const span of spans) bytes += span.length;
      files.set(file.path, {
        size: file.size === undefined ? undefined : Number(file.size),
        mtimeNs: nanosecondsOf(file.mtime),
        try: file.try,
        spans,
      });
    }
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return { files, bytes };
}

function totalsOf(items: () => Iterable<UploadItem>): { files: number; bytes: number } | undefined {
  const totals = { files: 0, bytes: 0 };
  for (const item of items()) {
    if ("bytes" in item) return undefined;
    if (item.type !== "folder") totals.files++;
    totals.bytes += item.size;
  }
  return totals;
}

function createMeter(onProgress: UploadOptions["onProgress"], totals: { files: number; bytes: number } | undefined) {
  const done = { files: 0, bytes: 0 };
  let toldAt = 0;
  const tell = (always: boolean) => {
    if (!onProgress || (!always && performance.now() - toldAt < PROGRESS_MS)) return;
    toldAt = performance.now();
    onProgress({ ...done, totalFiles: totals?.files, totalBytes: totals?.bytes });
  };
  return {
    onBytes(count: number) {
      done.bytes += count;
      tell(false);
    },
    onFile() {
      done.files++;
      tell(false);
    },
    end: () => tell(true),
  };
}
