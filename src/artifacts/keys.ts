/** Where things are in a store, and which keys are ours. docs/storage-format.md describes each. */
import { isId, nameProblem } from "../lib/names.ts";

/** Numbers in keys have 12 digits, and count down where the newest must come first in a listing. */
const NUMBER_LIMIT = 10 ** 12;
const NUMBER_DIGITS = 12;
/** The character that follows `/`: right behind every key that starts with `x/` comes `x0`. */
const AFTER_SLASH = "0";

export const FORMAT_PREFIX = ".format/";
export const formatKey = (version: number): string => `${FORMAT_PREFIX}${version}`;

export const runsPrefix = (project: string): string => `${project}/runs/`;
export const runKey = (project: string, run: string): string => `${runsPrefix(project)}${run}`;

export const logPrefix = (project: string, run: string): string => `${project}/log/${run}/`;
export const logKey = (project: string, run: string, seq: number): string => logPrefix(project, run) + descending(seq);

export const tagsPrefix = (project: string): string => `${project}/tags/`;
export const tagPrefix = (project: string, tag: string): string => `${tagsPrefix(project)}${tag}/`;
export const tagKey = (project: string, tag: string, n: number): string => tagPrefix(project, tag) + descending(n);

export const snapshotPrefix = (project: string, run: string): string => `${project}/snapshots/${run}/`;
export const snapshotKey = (project: string, run: string, seq: number): string => snapshotPrefix(project, run) + descending(seq);

export const uploadsPrefix = (project: string): string => `${project}/uploads/`;
export const uploadKey = (project: string, id: string): string => uploadsPrefix(project) + id;
export const endedPrefix = (project: string): string => `${project}/ended/`;
export const endedKey = (project: string, id: string): string => endedPrefix(project) + id;

export const dataPrefix = (project: string): string => `${project}/data/`;
/** Under whose id the objects are that a fold of a run's view writes; a client's id has no dot. */
export const foldId = (run: string, seq: number): string => `fold.${run}.${seq}`;
export const uploadDataPrefix = (project: string, id: string): string => `${dataPrefix(project)}${id}/`;
/** A data object's key without the project, as records name it. */
export const relativeDataKey = (id: string, attempt: string, n: number): string => `data/${id}/${attempt}/${ascending(n)}`;
export const relativeManifestKey = (id: string, attempt: string, n: number): string => `data/${id}/${attempt}/manifest-${ascending(n)}`;
export const inProject = (project: string, relativeKey: string): string => `${project}/${relativeKey}`;
/** Whether a key under `data/` holds files' bytes; the others hold manifests. */
export const isDataObject = (key: string): boolean => !key.slice(key.lastIndexOf("/") + 1).startsWith("manifest-");

export const garbagePrefix = (project: string): string => `${project}/gc/`;
export const condemnedKey = (project: string, time: Date, random: string): string =>
  `${garbagePrefix(project)}${time.toISOString()}-${random}`;
export const clockKey = (project: string, random: string): string => `${garbagePrefix(project)}clock-${random}`;

const isName = (segment: string): boolean => nameProblem(segment) === undefined;
const matches = (pattern: RegExp) => (segment: string) => pattern.test(segment);
const isNumber = matches(/^\d{12}$/);
const isRandom = matches(/^[0-9a-f]{16}$/);
const FOLD_ID = /^fold\.(.+)\.([1-9]\d{0,11})$/;

/** What follows the project in each kind of key. */
const FORMS: ReadonlyMap<string, readonly ((segment: string) => boolean)[]> = new Map([
  ["runs", [isName]],
  ["log", [isName, isNumber]],
  ["tags", [isName, isNumber]],
  ["snapshots", [isName, isNumber]],
  ["uploads", [isId]],
  ["ended", [isId]],
  ["data", [(id) => isId(id) || foldOf(id) !== undefined, isRandom, matches(/^(manifest-)?\d{12}$/)]],
  ["gc", [matches(/^(clock|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)-[0-9a-f]{16}$/)]],
]);

/**
 * Whether a key is of a form that we write. Others may keep their things beside ours, and systems leave files of their own in folders:
 * whatever isn't of our form is as if it weren't there.
 */
export function isOurs(key: string): boolean {
  const [project = "", kind = "", ...rest] = key.split("/");
  if (`${project}/` === FORMAT_PREFIX) return rest.length === 0 && /^[1-9]\d*$/.test(kind);
  const form = FORMS.get(kind);
  return form !== undefined && rest.length === form.length && isName(project) && form.every((fits, i) => fits(rest[i] as string));
}

/** The project that a key would belong to. */
export function projectOf(key: string): string | undefined {
  const project = key.slice(0, Math.max(0, key.indexOf("/")));
  return isName(project) ? project : undefined;
}

/** What an id is the fold of, if it is a fold's. */
export function foldOf(id: string): { readonly run: string; readonly seq: number } | undefined {
  const [, run = "", seq] = FOLD_ID.exec(id) ?? [];
  return isName(run) ? { run, seq: Number(seq) } : undefined;
}

/** A key behind all keys of a project and before those of the next. */
export const afterProject = (project: string): string => project + AFTER_SLASH;

/** The number in the last segment of a log's or snapshot's key. */
export function numberOf(key: string): number {
  return NUMBER_LIMIT - Number(key.slice(key.lastIndexOf("/") + 1));
}

export function lastSegment(key: string): string {
  return key.slice(key.lastIndexOf("/") + 1);
}

function descending(n: number): string {
  return String(NUMBER_LIMIT - n).padStart(NUMBER_DIGITS, "0");
}

function ascending(n: number): string {
  return String(n).padStart(NUMBER_DIGITS, "0");
}
