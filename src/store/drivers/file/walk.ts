/** Walks a tree of files in the order of their keys, reading no more folders than it must. */
import type { Dirent } from "node:fs";
import { join } from "node:path";
import { lazySort } from "../../../lib/lazy-sort.ts";
import { compareUtf8 } from "../../../lib/utf8-order.ts";
import { codeOf, readdir } from "./io.ts";

/**
 * Gives the keys that start with `prefix` and come after `startAfter`, in ascending order of their UTF-8 bytes.
 *
 * A folder takes part in the order as `name/`, so that `a-b` comes before `a/b`: all keys in it start so, and no other does.
 *
 * A folder that is closed to us is an error if it, or one above it, was asked for by `prefix`; else it is somebody else's and left out:
 * at the top of a file system are such as `lost+found`.
 *
 * `hidden`: a folder of the root that holds no keys.
 */
export async function* walkKeys(
  root: string,
  prefix: string,
  startAfter: string | undefined,
  hidden: string,
): AsyncGenerator<string, void, void> {
  const start = prefix.slice(0, prefix.lastIndexOf("/") + 1);
  // No key has such segments, but a path with them leads out of the root.
  if (
    start
      .split("/")
      .slice(0, -1)
      .some((segment) => segment === "" || segment === "." || segment === "..")
  )
    return;
  if (start.includes("\0") || start.startsWith(`${hidden}/`)) return;
  yield* walk(start);

  async function* walk(folder: string): AsyncGenerator<string, void, void> {
    const keys: string[] = [];
    for (const entry of await readFolder(join(root, folder), start === "" && folder !== "")) {
      if (entry.isFile()) {
        const key = folder + entry.name;
        if (key.startsWith(prefix) && isAfter(key)) keys.push(key);
      } else if (entry.isDirectory()) {
        const key = `${folder}${entry.name}/`;
        const matches = key.startsWith(prefix) || prefix.startsWith(key);
        if (matches && (isAfter(key) || startAfter?.startsWith(key)) && key !== `${hidden}/`) keys.push(key);
      }
    }
    for (const key of lazySort(keys, compareUtf8)) {
      if (key.endsWith("/")) yield* walk(key);
      else yield key;
    }
  }

  function isAfter(key: string): boolean {
    return startAfter === undefined || compareUtf8(key, startAfter) > 0;
  }
}

/** What is in a folder; nothing if there is none (any more), or if it may be kept from us and is. */
async function readFolder(path: string, mayBeClosed: boolean): Promise<Dirent[]> {
  try {
    return await readdir(path, { withFileTypes: true });
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOENT" || code === "ENOTDIR" || code === "ENAMETOOLONG") return [];
    if (mayBeClosed && (code === "EACCES" || code === "EPERM")) return [];
    throw error;
  }
}
