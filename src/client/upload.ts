/** Uploads: sends everything in one stream, and takes it up again where it was cut off. */
import { randomUUID } from "node:crypto";
import fs from "node:fs";
import { create } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { type Upload, type UploadResponse, type UploadStart, UploadStartSchema } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { failureOf } from "../wire/status.ts";
import { artifactPathOf, expandHome } from "./artifact-path.ts";
import { ArtifactsUploadError, toDstackError } from "./errors.ts";
import type { Link } from "./link.ts";
import { loadPersisted, NOTHING, type Persisted } from "./persisted.ts";
import { createMeter, type OnProgress } from "./progress.ts";
import { createPatience } from "./retry.ts";
import { checkName } from "./settings.ts";
import { type Source, sourceItems } from "./source.ts";
import { type UploadItem, uploadMessages } from "./upload-messages.ts";
import { walk } from "./walk.ts";

export interface UploadOptions {
  /** Makes a new run of a generated name, and this tag for it. Not together with `run`. */
  readonly tag?: string | undefined;
  /** Adds to this run; default the current one. */
  readonly run?: string | undefined;
  /** Ends the upload; it then rejects with the signal's reason, and nothing of it can be seen. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Names the upload: 16 to 64 letters, digits, `_` and `-`, of its own for each upload; default a random UUID. One that was begun under
   * the same name is gone on with; one that was committed gives its result again.
   */
  readonly uploadId?: string | undefined;
  /** Goes on with the upload of this id, for the run or tag that it was begun for; fails if there is none. */
  readonly resume?: string | undefined;
  /** Told about ten times a second how far it is. */
  readonly onProgress?: OnProgress;
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
  readonly source: Source;
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

/** How often a file whose bytes arrive damaged is sent. */
export const DAMAGED_FILE_SENDS = 3;
/** An upload that failed for one of these can't be gone on with. */
const FINAL = new Set(["TAG_EXISTS", "RUN_RESERVED", "UPLOAD_GONE", "UPLOAD_ID_MISMATCH", "UPLOAD_ID_INVALID"]);

export async function uploadFiles(link: Link, options: FilesUploadOptions): Promise<UploadResult> {
  if (!options.localPath) throw new ArtifactsUploadError("the local path is empty: name a folder or a file");
  const local = expandHome(options.localPath);
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
  const response = await upload(link, items, options);
  return toResult(response, skipped.size);
}

export async function uploadBytes(link: Link, options: BytesUploadOptions): Promise<UploadResult> {
  const path = artifactPathOf("", options.artifactPath, true);
  return toResult(await upload(link, sourceItems(path, options.source), options), 0);
}

function toResult({ run, commit, tag, files, bytes }: UploadResponse, skipped: number): UploadResult {
  return { run, commit: Number(commit), tag: tag || null, files: Number(files), bytes: Number(bytes), skipped };
}

/** `items` gives what is to be uploaded, from the beginning each time it is called. */
async function upload(link: Link, items: () => Iterable<UploadItem>, options: UploadOptions): Promise<UploadResponse> {
  const { signal, resume } = options;
  const uploadId = resume ?? options.uploadId ?? randomUUID();
  const target = checkTarget(options);
  signal?.throwIfAborted();
  const persisted = await contact(link, options, uploadId);
  if (persisted.response) return persisted.response;
  const start = startOf(link, uploadId, target, resume === undefined ? undefined : persisted.upload);
  try {
    return await send(link, start, items, persisted, options);
  } catch (error) {
    const failure = toDstackError(error, "upload", link.settings.url);
    if (failure instanceof ArtifactsUploadError && !FINAL.has(failure.reason ?? "")) failure.uploadId = uploadId;
    throw failure;
  }
}

/** Refuses bad names, and both a run and a tag. */
function checkTarget({ run, tag }: UploadOptions): { run?: string | undefined; tag?: string | undefined } {
  const fail = (message: string) => new ArtifactsUploadError(message);
  if (run !== undefined && tag !== undefined)
    throw fail("run and tag were both given: an upload goes to a run, or to a new one that the tag names");
  if (tag !== undefined) checkName("tag", tag, fail);
  if (run !== undefined) checkName("run", run, fail);
  return { run, tag };
}

/** The first words with the server, before any file is looked at: what it has of the upload, and whether the tag is free. */
async function contact(link: Link, options: UploadOptions, uploadId: string): Promise<Persisted> {
  const { signal, tag, resume } = options;
  if (resume !== undefined || options.uploadId !== undefined) {
    const persisted = await loadPersisted(link, uploadId, { signal, reached: false });
    if (persisted.upload) return persisted;
    if (resume !== undefined) throw new ArtifactsUploadError(`there is no upload ${resume} to go on with`, { reason: "UPLOAD_NOT_FOUND" });
  }
  if (tag === undefined) {
    await link.call((service, call) => service.getServerInfo({}, call), { signal });
    return NOTHING;
  }
  // The server decides again at the end.
  try {
    await link.call((service, call) => service.getTag({ project: link.settings.project, tag }, call), { signal });
  } catch (error) {
    if (error instanceof ConnectError && failureOf(error).reason === "TAG_NOT_FOUND") return NOTHING;
    throw error;
  }
  throw new ArtifactsUploadError(`tag ${JSON.stringify(tag)} already exists`, { reason: "TAG_EXISTS" });
}

/** `begun`: an upload to go on with, which knows better than the environment what it is for. */
function startOf(
  link: Link,
  uploadId: string,
  given: { run?: string | undefined; tag?: string | undefined },
  begun: Upload | undefined,
): UploadStart {
  const { settings } = link;
  const fail = (message: string) => new ArtifactsUploadError(message);
  const was = begun && (begun.tag ? `tag ${JSON.stringify(begun.tag)}` : `run ${JSON.stringify(begun.run)}`);
  if (begun && ((given.tag ?? begun.tag) !== begun.tag || (given.run !== undefined && (begun.tag !== "" || given.run !== begun.run))))
    throw fail(`upload ${uploadId} was begun for ${was}: name no other run or tag`);
  const tag = begun ? begun.tag || undefined : given.tag;
  const run = tag !== undefined ? undefined : begun ? begun.run : (given.run ?? settings.run);
  if (run !== undefined) checkName("run", run, fail);
  return create(UploadStartSchema, {
    uploadId,
    project: settings.project,
    target: tag !== undefined ? { case: "tag", value: tag } : run !== undefined ? { case: "run", value: run } : { case: undefined },
  });
}

/** Sends the items, again and again until the server has them all. */
async function send(
  link: Link,
  start: UploadStart,
  items: () => Iterable<UploadItem>,
  known: Persisted,
  { signal, onProgress }: UploadOptions,
): Promise<UploadResponse> {
  const { timeoutMs } = link.settings;
  const patience = createPatience(timeoutMs, true);
  const meter = createMeter(onProgress, onProgress && totalsOf(items));
  const tries = new Map<string, number>();
  const damaged = new Map<string, number>();
  let persisted = known;
  for (;;) {
    try {
      meter.restart();
      const messages = uploadMessages(start, items(), { tries, persisted: persisted.files, onSent: meter.add });
      const response = await link.transfers.upload(messages, { signal, timeoutMs });
      meter.end();
      return response;
    } catch (error) {
      const path = damagedPath(error);
      const sends = (damaged.get(path ?? "") ?? 0) + 1;
      if (path !== undefined && sends < DAMAGED_FILE_SENDS) {
        damaged.set(path, sends);
        tries.set(path, Math.max(tries.get(path) ?? 0, persisted.files.get(path)?.try ?? 0) + 1);
      } else {
        await patience.wait(error, signal);
      }
      const now = await loadPersisted(link, start.uploadId, { signal, reached: true });
      if (now.response) return now.response;
      if (now.bytes > persisted.bytes) patience.progressed();
      persisted = now;
    }
  }
}

/** The file that must be sent again because its bytes are not what they should be. */
function damagedPath(error: unknown): string | undefined {
  if (!(error instanceof ConnectError)) return undefined;
  const { reason, metadata } = failureOf(error);
  return reason === "CHECKSUM_MISMATCH" || reason === "PERSISTED_MISSING" ? metadata["path"] : undefined;
}

function totalsOf(items: () => Iterable<UploadItem>): { files: number; bytes: number } | undefined {
  const totals = { files: 0, bytes: 0 };
  for (const item of items()) {
    if (item.size === undefined) return undefined;
    if (item.type !== "folder") totals.files++;
    totals.bytes += item.size;
  }
  return totals;
}
