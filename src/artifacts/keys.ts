/** Where things are in a store. docs/storage-format.md describes each. */

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
export const uploadDataPrefix = (project: string, id: string): string => `${dataPrefix(project)}${id}/`;
/** A data object's key without the project, as records name it. */
export const relativeDataKey = (id: string, attempt: string, n: number): string => `data/${id}/${attempt}/${ascending(n)}`;
export const relativeManifestKey = (id: string, attempt: string, n: number): string => `data/${id}/${attempt}/manifest-${ascending(n)}`;
export const inProject = (project: string, relativeKey: string): string => `${project}/${relativeKey}`;
/** Whether a key under `data/` holds files' bytes; the others hold manifests. */
export const isDataObject = (key: string): boolean => !key.slice(key.lastIndexOf("/") + 1).startsWith("manifest-");

export const garbagePrefix = (project: string): string => `${project}/gc/`;

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
