/**
 * Everything that can be done with the artifacts of one store, over its driver. This room knows nothing of gRPC and of no cloud.
 *
 * An upload's bytes go uploads/ -> data-writer -> the store; its entries go manifests/ -> commit -> log. A download goes views -> manifests/ ->
 * downloads/pieces -> the caller.
 */
import { createKeyedLock } from "../lib/keyed-lock.ts";
import type { Driver } from "../store/driver.ts";
import { createTag, deleteRun, deleteTag, getTag, listTags } from "./changes.ts";
import { type Context, DEFAULT_SETTINGS, type Settings } from "./context.ts";
import { copy } from "./copy.ts";
import { download } from "./downloads/download.ts";
import { ReadAhead } from "./downloads/read-ahead.ts";
import { openFormat } from "./format.ts";
import { collectGarbage } from "./garbage/collect.ts";
import { FORMAT_PREFIX, inProject, relativeManifestKey } from "./keys.ts";
import { getRun, listEntries, listRuns } from "./listing.ts";
import { createRunLog } from "./log.ts";
import type { ObjectReader } from "./manifests/index.ts";
import { createObjects, type Objects } from "./objects.ts";
import { createTagLog } from "./tags.ts";
import type { Artifacts } from "./types.ts";
import { KeptPersisted } from "./uploads/kept-persisted.ts";
import { MemoryBudget } from "./uploads/memory-budget.ts";
import { abortUpload, claimNewRun, getUpload, listUploads, randomId, startUpload } from "./uploads/uploads.ts";
import { verify } from "./verify.ts";
import { createViews, type ViewsOptions } from "./views.ts";

export interface ArtifactsOptions {
  /** What is written into a new store as its maker: name and version. */
  readonly writer?: string;
  readonly settings?: Partial<Settings>;
  readonly now?: () => Date;
  readonly random?: () => number;
  /** Told of failed work that nobody waits for. */
  readonly onBackgroundError?: (error: unknown) => void;
}

/** Opens the artifacts in a store. Closing them closes the driver. */
export async function createArtifacts(driver: Driver, options: ArtifactsOptions = {}): Promise<Artifacts> {
  const settings = { ...DEFAULT_SETTINGS, ...options.settings };
  const records = openRecords(createObjects(driver));
  const { objects } = records;
  const lock = createKeyedLock();
  const background = new Set<Promise<void>>();
  const context: Context = {
    ...records,
    uploadBudget: new MemoryBudget(settings.uploadMemoryBytes),
    persisted: new KeptPersisted(objects, lock),
    settings,
    now: options.now ?? (() => new Date()),
    random: options.random ?? Math.random,
    lock,
    inBackground(task) {
      const work = task()
        .catch((error) => options.onBackgroundError?.(error))
        .finally(() => background.delete(work));
      background.add(work);
    },
    manifestWriter(project, id) {
      const attempt = randomId(context);
      let n = 0;
      return {
        async put(parts, signal) {
          const key = relativeManifestKey(id, attempt, n++);
          await objects.putParts(inProject(project, key), parts, undefined, signal);
          return key;
        },
      };
    },
  };
  const readAhead = new ReadAhead(settings.downloadMemoryBytes, objects.driver.readBytes);
  await openFormat(objects, options.writer ?? "dstack-artifacts");

  return {
    claimRun: (project) => claimNewRun(context, project),
    startUpload: (target, call) => startUpload(context, target, call),
    getUpload: (project, id, page) => getUpload(context, project, id, page),
    listUploads: (project, page) => listUploads(context, project, page),
    abortUpload: (project, id) => abortUpload(context, project, id),
    download: (query, call = {}) => download(context, readAhead, query, call),
    listEntries: (project, reference, query) => listEntries(context, project, reference, query),
    getRun: (project, run) => getRun(context, project, run),
    listRuns: (project, page) => listRuns(context, project, page),
    deleteRun: (project, run, how) => deleteRun(context, project, run, how),
    createTag: (project, tag, target) => createTag(context, project, tag, target),
    getTag: (project, tag) => getTag(context, project, tag),
    listTags: (project, page) => listTags(context, project, page),
    deleteTag: (project, tag, how) => deleteTag(context, project, tag, how),
    copy: (query, call) => copy(context, query, call),
    verify: (project, reference, call = {}) => verify(freshly(context), readAhead, project, reference, call),
    collectGarbage: (how, call = {}) => collectGarbage(context, how, call),
    async checkStore({ signal } = {}) {
      await driver.list(FORMAT_PREFIX, { limit: 1, signal });
    },
    async close() {
      await Promise.all(background);
      await driver.close();
    },
  };
}

/** What is read through `objects`. */
function openRecords(objects: Objects, options: ViewsOptions = {}): Pick<Context, "objects" | "log" | "tags" | "views" | "reader"> {
  const log = createRunLog(objects);
  const tags = createTagLog(objects);
  const reader = (project: string): ObjectReader => ({
    read: (location, signal) =>
      objects.read(
        {
          key: inProject(project, location.key),
          offset: Number(location.offset),
          length: Number(location.length),
          crc32c: location.crc32c,
        },
        signal,
      ),
  });
  return { objects, log, tags, views: createViews(objects, log, tags, reader, options), reader };
}

/** The same without anything that was read before: for those who ask what is in the store now. */
function freshly(context: Context): Context {
  return { ...context, ...openRecords(createObjects(context.objects.driver, 0), { fresh: true }) };
}
