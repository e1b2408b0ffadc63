/** Uploads by their ids: begun, gone on with, looked at, aborted. */
import { create } from "@bufbuild/protobuf";
import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  RunClaimSchema,
  UploadEndSchema,
  type UploadStart,
  UploadStartSchema,
} from "../../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { comparePaths } from "../../lib/paths.ts";
import { generateRunNameStem } from "../../lib/run-names.ts";
import { checkId, checkName } from "../check.ts";
import type { Context } from "../context.ts";
import { ArtifactsFailure } from "../errors.ts";
import { endedKey, inProject, lastSegment, relativeDataKey, runKey, uploadKey, uploadsPrefix } from "../keys.ts";
import { createManifestWriter } from "../manifests/index.ts";
import { pageOf } from "../paging.ts";
import { tagExists } from "../tags.ts";
import type { CallContext, PageRequest, PersistedFile, UploadInfo, UploadSession, UploadTarget } from "../types.ts";
import { committed, completeEnded, findCommit, finishAndCommit, finishOf } from "./commit.ts";
import { DataWriter } from "./data-writer.ts";
import type { Persisted } from "./persisted.ts";
import { openCommittedSession, openSession } from "./session.ts";

const MAX_PERSISTED_PAGE = 10_000;
const DEFAULT_PAGE = 1000;
const NS_PER_MS = 1_000_000n;

/** Begins an upload, or goes on with it at this server. */
export async function startUpload(context: Context, target: UploadTarget, { signal }: CallContext = {}): Promise<UploadSession> {
  const { project, uploadId } = target;
  checkName("project", project);
  checkId(uploadId);
  if (target.tag !== undefined) checkName("tag", target.tag);
  else checkName("run", target.run ?? "");

  const end = await context.objects.getFresh(endedKey(project, uploadId), UploadEndSchema);
  if (end) {
    const finish = finishOf(end);
    if (finish) checkSameTarget(finish.start, target);
    return openCommittedSession(await completeEnded(context, project, uploadId, end));
  }
  const known = await context.objects.getFresh(uploadKey(project, uploadId), UploadStartSchema);
  if (known) checkSameTarget(known, target);
  const start = known ?? (await begin(context, target));

  const attempt = randomId(context);
  const manifests = context.manifestWriter(project, uploadId);
  let persisted: Promise<Persisted> | undefined;
  return openSession({
    run: start.run,
    startedNs: BigInt(start.time ? timestampDate(start.time).getTime() : 0) * NS_PER_MS,
    data: new DataWriter({
      objectBytes: context.settings.dataObjectBytes,
      budget: context.uploadBudget,
      keyOf: (n) => relativeDataKey(uploadId, attempt, n),
      put: (key, parts, crc) => context.objects.putParts(inProject(project, key), parts, crc, signal),
    }),
    manifest: createManifestWriter(manifests, context.reader(project)),
    persisted: () => (persisted ??= context.persisted.load(project, uploadId, signal)),
    commit: (manifest) => finishAndCommit(context, project, uploadId, start, manifest),
    idleMs: context.settings.idleMs,
  });
}

/** Claims a run's name that nobody had before. */
export async function claimNewRun(context: Context, project: string, uploadId = ""): Promise<string> {
  checkName("project", project);
  const stem = generateRunNameStem(context.random);
  for (let n = 1; ; n++) {
    const run = `${stem}-${n}`;
    const claim = create(RunClaimSchema, { uploadId, time: timestampFromDate(context.now()) });
    if (await context.objects.put(runKey(project, run), RunClaimSchema, claim)) return run;
  }
}

/** Claims a run's name for everybody; refuses one that a tagged upload keeps for itself. */
export async function claimRunFor(context: Context, project: string, run: string): Promise<void> {
  const claim = create(RunClaimSchema, { time: timestampFromDate(context.now()) });
  if (await context.objects.put(runKey(project, run), RunClaimSchema, claim)) return;
  const held = await context.objects.get(runKey(project, run), RunClaimSchema);
  if (!held?.uploadId || (await context.log.head(project, run))) return;
  throw new ArtifactsFailure("RUN_RESERVED", `run "${run}" is being made by a tagged upload: upload to another run`, { run });
}

export async function getUpload(
  context: Context,
  project: string,
  uploadId: string,
  page: PageRequest = {},
): Promise<{ upload: UploadInfo; files: readonly PersistedFile[]; nextPageToken: string }> {
  checkName("project", project);
  checkId(uploadId);
  const start = await existing(context, project, uploadId);
  const upload = await describe(context, project, uploadId, start);
  if (upload.state === "committed" || upload.state === "aborted") return { upload, files: [], nextPageToken: "" };
  const persisted = await context.persisted.load(project, uploadId);
  const { items, nextPageToken } = pageOf(persisted.paths(), (path) => path, page, {
    defaultSize: DEFAULT_PAGE,
    maxSize: MAX_PERSISTED_PAGE,
    compare: comparePaths,
  });
  return { upload, files: items.map((path) => persisted.file(path)), nextPageToken };
}

/** Uploads that are neither committed nor aborted. */
export async function listUploads(
  context: Context,
  project: string,
  page: PageRequest = {},
): Promise<{ uploads: readonly UploadInfo[]; nextPageToken: string }> {
  checkName("project", project);
  const open: UploadInfo[] = [];
  for await (const { key } of context.objects.list(uploadsPrefix(project))) {
    const id = lastSegment(key);
    const start = await context.objects.get(key, UploadStartSchema);
    // Copies and tags have starts, too, and nothing that a client could go on with.
    if (!start || start.sourceRun) continue;
    const upload = await describe(context, project, id, start);
    if (upload.state === "open" || upload.state === "finishing") open.push(upload);
  }
  const { items, nextPageToken } = pageOf(open, (upload) => upload.uploadId, page, { defaultSize: DEFAULT_PAGE, maxSize: DEFAULT_PAGE });
  return { uploads: items, nextPageToken };
}

export async function abortUpload(context: Context, project: string, uploadId: string): Promise<void> {
  checkName("project", project);
  checkId(uploadId);
  await existing(context, project, uploadId);
  const end = create(UploadEndSchema, { outcome: { case: "abort", value: {} } });
  if (await context.objects.put(endedKey(project, uploadId), UploadEndSchema, end)) return;
  const decided = await context.objects.get(endedKey(project, uploadId), UploadEndSchema);
  if (decided?.outcome.case === "abort") return;
  throw new ArtifactsFailure("UPLOAD_FINISHED", `upload ${uploadId} is committed or about to be: it can't be aborted`, {
    upload_id: uploadId,
  });
}

export function randomId(context: Context): string {
  const digits = () =>
    Math.floor(context.random() * 2 ** 32)
      .toString(16)
      .padStart(8, "0");
  return digits() + digits();
}

async function begin(context: Context, target: UploadTarget): Promise<UploadStart> {
  const { project, uploadId } = target;
  let run = target.run ?? "";
  if (target.tag !== undefined) {
    if (await context.tags.find(project, target.tag)) throw tagExists(target.tag);
    run = await claimNewRun(context, project, uploadId);
  } else {
    await claimRunFor(context, project, run);
  }
  const head = await context.log.head(project, run);
  const start = create(UploadStartSchema, {
    run,
    tag: target.tag ?? "",
    beginSeq: BigInt(head?.seq ?? 0),
    time: timestampFromDate(context.now()),
    runAssigned: target.tag !== undefined || target.runAssigned === true,
  });
  if (await context.objects.put(uploadKey(project, uploadId), UploadStartSchema, start)) return start;
  const first = await existing(context, project, uploadId);
  checkSameTarget(first, target);
  return first;
}

/** What an upload was started for. Garbage collection takes the start before the end, which names it as well. */
async function existing(context: Context, project: string, uploadId: string): Promise<UploadStart> {
  const start = await context.objects.getFresh(uploadKey(project, uploadId), UploadStartSchema);
  if (start) return start;
  const end = await context.objects.getFresh(endedKey(project, uploadId), UploadEndSchema);
  const finish = end && finishOf(end);
  if (finish) return finish.start;
  throw new ArtifactsFailure("UPLOAD_NOT_FOUND", `upload ${uploadId} not found`, { upload_id: uploadId });
}

async function describe(context: Context, project: string, uploadId: string, start: UploadStart): Promise<UploadInfo> {
  const end = await context.objects.get(endedKey(project, uploadId), UploadEndSchema);
  const info = {
    uploadId,
    run: start.run,
    created: start.time ? timestampDate(start.time) : new Date(0),
    ...(start.tag ? { tag: start.tag } : {}),
  };
  if (!end) return { ...info, state: "open" };
  const finish = finishOf(end);
  if (!finish) return { ...info, state: "aborted" };
  const commit = await findCommit(context, project, uploadId, finish.start);
  if (commit === undefined) return { ...info, state: "finishing" };
  return { ...info, state: "committed", committed: committed(project, commit, finish) };
}

function checkSameTarget(start: UploadStart, target: UploadTarget): void {
  const same =
    target.tag !== undefined
      ? start.tag === target.tag
      : start.tag === "" && (start.run === target.run || (start.runAssigned && target.runAssigned === true));
  if (same && !start.sourceRun) return;
  const was = start.tag ? `tag "${start.tag}"` : `run "${start.run}"`;
  throw new ArtifactsFailure("UPLOAD_ID_MISMATCH", `upload ${target.uploadId} was begun for ${was}`, { upload_id: target.uploadId });
}
