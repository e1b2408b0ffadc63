/** The folders of a file store: made when needed, durable before anything in them is acknowledged, removed when empty. */
import { join } from "node:path";
import { grouped } from "../../../lib/grouped.ts";
import { LruCache } from "../../../lib/lru-cache.ts";
import { codeOf, fsyncFolder, mkdir, rmdir } from "./io.ts";

/** For the owner alone. */
export const FOLDER_MODE = 0o700;

/** Folders known to be durable that are remembered; each costs about 200 bytes, and forgetting one costs a few fsyncs. */
const KNOWN_FOLDERS = 10_000;

/** The folder that a key or folder lies in, relative to the root, which is `""`. */
export function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}

/** The folders above `folder`, nearest first, the root (`""`) last. */
function ancestorsOf(folder: string): string[] {
  const ancestors: string[] = [];
  for (let at = folder; at !== ""; ) {
    at = parentOf(at);
    ancestors.push(at);
  }
  return ancestors;
}

export interface Folders {
  /** Makes a folder and those above it, except the root: a root that went away is an error, ENOENT. */
  make(folder: string): Promise<void>;
  /** Makes durable what is in a folder, and the folder itself. */
  settle(folder: string): Promise<void>;
  /** Makes durable that something was removed from a folder, which may itself have been removed since. */
  settleRemoval(folder: string): Promise<void>;
  /** Removes a folder and those above it, as far as they are empty, except the root. */
  prune(folder: string): Promise<void>;
}

export function openFolders(root: string): Folders {
  const flush = grouped((folder: string) => fsyncFolder(join(root, folder)));

  /**
   * Which folders are known to be durable, with all above them. Another process may remove an empty folder and make it anew, not
   * yet durable, so a path alone says nothing: it is the one that we know only with its inode and time of birth. While it is,
   * nothing above it can have been replaced, since a folder with something in it can't be removed.
   */
  const known = new LruCache<string, string>(KNOWN_FOLDERS);

  async function settle(folder: string): Promise<void> {
    const identity = await flush(folder);
    if (known.get(folder) === identity) return;
    await Promise.all(ancestorsOf(folder).map(flush));
    known.set(folder, identity);
  }

  return {
    settle,

    async make(folder) {
      if (folder === "") return;
      try {
        await mkdir(join(root, folder), FOLDER_MODE);
      } catch (error) {
        const code = codeOf(error);
        if (code === "EEXIST") return;
        if (code !== "ENOENT" || parentOf(folder) === "") throw error;
        await this.make(parentOf(folder));
        await mkdir(join(root, folder), FOLDER_MODE).catch((again: unknown) => {
          if (codeOf(again) !== "EEXIST") throw again;
        });
      }
    },

    async settleRemoval(folder) {
      for (const at of [folder, ...ancestorsOf(folder)]) {
        try {
          await flush(at);
          return;
        } catch (error) {
          const code = codeOf(error);
          if ((code !== "ENOENT" && code !== "ENOTDIR") || at === "") throw error;
        }
      }
    },

    async prune(folder) {
      for (let at = folder; at !== ""; at = parentOf(at)) {
        try {
          await rmdir(join(root, at));
          known.delete(at);
        } catch (error) {
          // Whatever keeps a folder (mostly that it isn't empty) keeps those above it as well; an empty folder harms nobody.
          if (codeOf(error) !== "ENOENT") return;
        }
      }
    },
  };
}
