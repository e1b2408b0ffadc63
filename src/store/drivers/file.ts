/**
 * Keeps objects in a folder of a local or network file system, which any number of processes may use at once.
 *
 * An object is a file at its key's path: its bytes, then a trailer to check them by. It is written under a temporary name, fsynced,
 * linked to its final name (`link(2)` fails if that exists, which is the create-if-absent), and its folder is fsynced; only then
 * is the temporary name removed. So a file with one name is durable, and one with two may not be yet: whoever meets such a file
 * (a put that finds the key taken, a read, a listing) fsyncs the folder itself before saying that the object exists. Otherwise
 * somebody could act, durably, on an object that a power cut then takes away.
 *
 * When the fsync of the folder fails after the link, the object stays, with both names: another process may have relied on it by
 * then. The put rejects, and later readers make it durable or fail. A failed fsync of the file itself leaves nothing.
 */
import fs from "node:fs";
import { dirname, join, resolve } from "node:path";
import { LruCache } from "../../lib/lru-cache.ts";
import type { ByteParts, Driver, ListOptions, ObjectInfo, ObjectPage, ObjectRange, ReadOptions } from "../driver.ts";
import { StoreError } from "../driver.ts";
import { Calls } from "./calls.ts";
import { fileError, goneError } from "./file/errors.ts";
import { FOLDER_MODE, openFolders, parentOf } from "./file/folders.ts";
import { codeOf, fstat, fsyncFolder, link, lstat, readAt, readdir, unlink, withFile } from "./file/io.ts";
import { removeLeftovers, TEMP_FOLDER, tempPath, writeTemp } from "./file/temp.ts";
import { checkedObject, objectSize } from "./file/trailer.ts";
import { walkKeys } from "./file/walk.ts";
import { checkKey } from "./keys.ts";

export interface FileOptions {
  /** The clock that the age of left-behind temporary files is told by, in milliseconds since 1970; the system's by default. */
  readonly now?: () => number;
}

/** What one read should ask for: more finds less of itself in the CPU's cache afterwards. */
const READ_BYTES = 4 * 1024 * 1024;
/** The most that a page of a listing may hold, and what it holds by default. */
const MAX_PAGE = 1000;
/** Files looked at side by side in a listing: keeps the thread pool busy without filling its queue for other calls. */
const STAT_BATCH = 64;
/** How often a put makes its folder again when others remove it, empty, before the link. */
const LINK_TRIES = 100;
/** Files known to be durable though they have two names (their writer died between the two steps) that are remembered. */
const KNOWN_FILES = 10_000;

/**
 * Opens a store in the folder `root`, which is made if need be.
 *
 * @throws StoreError if it can't be made, isn't a folder, or lies where names that differ in case alone are one.
 */
export async function openFile(root: string, options: FileOptions = {}): Promise<Driver> {
  const folder = resolve(root);
  const name = `file://${folder}`;
  await makeRoot(name, folder);
  await checkCase(name, folder);
  await removeLeftovers(folder, (options.now ?? Date.now)());
  return fileDriver(name, folder);
}

/** Makes the root and all that is missing above it, durably. */
async function makeRoot(name: string, root: string): Promise<void> {
  try {
    const made = await fs.promises.mkdir(join(root, TEMP_FOLDER), { recursive: true, mode: FOLDER_MODE });
    if (made !== undefined) await settleRoot(root, dirname(made));
    // Whoever made it may have died, or not have come to that yet. What we can't flush, we can't have made either.
    else if (await isUnused(root)) await settleRoot(root, "/").catch(() => {});
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOTDIR" || code === "EEXIST") {
      throw new StoreError("misconfigured", `${name}: ${root} isn't a folder: give the store a folder`, { cause: error });
    }
    throw fileError(name, error, "make the folder", root);
  }
}

/**
 * Refuses a file system that takes `a` and `A` for one, as macOS's does by default: runs of such names would be merged.
 *
 * Looks for the temporary folder by another name, so that nothing has to be made for it, whoever else opens the store.
 */
async function checkCase(name: string, root: string): Promise<void> {
  const identityOf = async (folder: string) => {
    const { dev, ino } = await lstat(join(root, folder));
    return `${dev}:${ino}`;
  };
  let other: string;
  try {
    other = await identityOf(TEMP_FOLDER.toUpperCase());
  } catch (error) {
    if (codeOf(error) === "ENOENT") return;
    throw fileError(name, error, "look at", root);
  }
  // It can be a folder of its own.
  if (other !== (await identityOf(TEMP_FOLDER))) return;
  throw new StoreError(
    "unsupported",
    `${name}: the file system of ${root} takes upper and lower case for the same, so that runs \`a\` and \`A\` would be one: ` +
      "choose a folder on one that doesn't (on macOS: a volume with the format APFS (Case-sensitive))",
  );
}

/** Makes the names of the root and of the folders above it durable, those in `top` the last. */
async function settleRoot(root: string, top: string): Promise<void> {
  for (let at = root; at.length >= top.length; at = dirname(at)) {
    await fsyncFolder(at);
    if (at === dirname(at)) break;
  }
}

/** Whether nobody has put anything there, which they do when the root is durable. */
async function isUnused(root: string): Promise<boolean> {
  return (await readdir(root, { withFileTypes: true })).every((entry) => entry.name === TEMP_FOLDER);
}

function fileDriver(name: string, root: string): Driver {
  const calls = new Calls(name);
  const folders = openFolders(root);
  const knownFiles = new LruCache<string, true>(KNOWN_FILES);

  const pathOf = (key: string): string => join(root, key);

  function checkOwnKey(key: string): void {
    checkKey(name, key);
    if (key.split("/", 1)[0] === TEMP_FOLDER) throw new StoreError("failed", `${name}: keys in ${TEMP_FOLDER} are kept for this driver`);
  }

  /** Makes an object durable that was met with two names. */
  async function settle(key: string, stats: fs.Stats): Promise<void> {
    if (stats.nlink === 1) return;
    const identity = `${key}:${stats.ino}:${stats.mtimeMs}`;
    if (knownFiles.get(identity)) return;
    await folders.settle(parentOf(key));
    knownFiles.set(identity, true);
  }

  /** Before saying that something isn't there: the store must be. A disk that was unmounted leaves an empty folder. */
  async function checkRoot(): Promise<void> {
    await lstat(join(root, TEMP_FOLDER)).catch((error: unknown) => {
      throw codeOf(error) === "ENOENT" ? goneError(name, root, error) : fileError(name, error, "look at", root);
    });
  }

  async function putIfAbsent(key: string, body: ByteParts, declared: number, signal: AbortSignal | undefined): Promise<boolean> {
    checkOwnKey(key);
    const temp = tempPath(root);
    const discard = () => unlink(temp).catch(() => {});
    let created: boolean;
    try {
      const found = await writeTemp(temp, body, declared, signal);
      if (found !== declared) throw new StoreError("damaged", `${name}: the body of ${key} isn't what its checksum says`);
      // From here on the call isn't ended early any more.
      signal?.throwIfAborted();
      created = await linkTo(temp, key);
    } catch (error) {
      await discard();
      if (signal?.aborted && error === signal.reason) throw error;
      await throwIfGone(error);
      throw fileError(name, error, "write", pathOf(key));
    }
    try {
      if (created) await folders.settle(parentOf(key));
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw fileError(name, error, "make durable", pathOf(key));
      // Without its folder, the object was deleted again by now, and the deletion sees to its own durability; unless all is gone.
      await checkRoot();
    }
    await discard();
    return created;
  }

  /** Gives a written file its final name, and tells whether it got it; if not, what has that name is durable. */
  async function linkTo(temp: string, key: string): Promise<boolean> {
    const path = pathOf(key);
    for (let tries = 0; tries < LINK_TRIES; tries++) {
      try {
        await link(temp, path);
        return true;
      } catch (error) {
        const code = codeOf(error);
        if (code === "EPERM")
          throw new StoreError("unsupported", `${name}: the file system of ${root} can't make hard links: choose another`, {
            cause: error,
          });
        if (code !== "EEXIST" && code !== "ENOENT") throw error;
        if (code === "EEXIST" ? await settleWinner(key) : await prepare(temp, key)) return false;
      }
    }
    throw new StoreError("temporary", `${name}: the folder of ${path} was removed again and again while it was written to`);
  }

  /** Whether the key is taken, by an object that is durable now. It may be deleted in the meantime. */
  async function settleWinner(key: string): Promise<boolean> {
    try {
      const stats = await lstat(pathOf(key));
      if (!stats.isFile()) throw new StoreError("failed", `${name}: ${pathOf(key)} is a folder and can't be an object as well`);
      await settle(key, stats);
      return true;
    } catch (error) {
      if (codeOf(error) === "ENOENT") return false;
      throw error;
    }
  }

  /** Makes the folder of a key, for the next try to link. Another call may remove it before that, or while it is made. */
  async function prepare(temp: string, key: string): Promise<false> {
    try {
      await lstat(temp);
    } catch (error) {
      throw codeOf(error) === "ENOENT"
        ? new StoreError("temporary", `${name}: ${temp} was removed before it was complete`, { cause: error })
        : error;
    }
    await folders.make(parentOf(key)).catch((error: unknown) => {
      if (codeOf(error) !== "ENOENT") throw error;
    });
    return false;
  }

  async function throwIfGone(error: unknown): Promise<void> {
    if (codeOf(error) === "ENOENT") await checkRoot();
  }

  async function read(key: string, range: ObjectRange | undefined, { signal, allocate }: ReadOptions): Promise<Uint8Array> {
    checkOwnKey(key);
    const path = pathOf(key);
    try {
      return await withFile(path, fs.constants.O_RDONLY, 0, async (fd) => {
        const stats = await fstat(fd);
        if (!stats.isFile()) throw notFound(key);
        await settle(key, stats);
        signal?.throwIfAborted();
        if (range === undefined) {
          const object = checkedObject(await readAt(fd, 0, stats.size));
          if (object === undefined) throw new StoreError("damaged", `${name}: ${path} isn't what was written to it`);
          return object;
        }
        const size = objectSize(stats.size);
        if (range.offset >= size) throw new StoreError("outOfRange", `${name}: ${path} has ${size} bytes, none from ${range.offset}`);
        return readAt(fd, range.offset, Math.min(range.length, size - range.offset), allocate);
      });
    } catch (error) {
      const code = codeOf(error);
      if (signal?.aborted && error === signal.reason) throw error;
      if (code !== "ENOENT" && code !== "ENOTDIR") throw fileError(name, error, "read", path);
      await checkRoot();
      throw notFound(key);
    }
  }

  function notFound(key: string): StoreError {
    return new StoreError("notFound", `${name}: there is no ${key}`);
  }

  async function list(prefix: string, options: ListOptions): Promise<ObjectPage> {
    const { startAfter, limit = MAX_PAGE, signal } = options;
    try {
      const found: ObjectInfo[] = [];
      const keys = walkKeys(root, prefix, startAfter, TEMP_FOLDER);
      let ended = false;
      // One more than asked for tells whether there are more. Keys that are deleted meanwhile are made up for.
      while (!ended && found.length <= limit) {
        const batch: string[] = [];
        while (!ended && batch.length < Math.min(STAT_BATCH, limit + 1 - found.length)) {
          const { value, done } = await keys.next();
          if (done) ended = true;
          else batch.push(value);
        }
        signal?.throwIfAborted();
        for (const info of await Promise.all(batch.map(infoOf))) if (info !== undefined) found.push(info);
      }
      if (found.length === 0) await checkRoot();
      return { objects: found.slice(0, limit), more: found.length > limit };
    } catch (error) {
      if (signal?.aborted && error === signal.reason) throw error;
      throw fileError(name, error, "list", pathOf(prefix));
    }
  }

  async function infoOf(key: string): Promise<ObjectInfo | undefined> {
    try {
      const stats = await lstat(pathOf(key));
      await settle(key, stats);
      return { key, size: objectSize(stats.size), lastModified: stats.mtime };
    } catch (error) {
      if (codeOf(error) === "ENOENT") return undefined;
      throw error;
    }
  }

  async function remove(key: string, signal: AbortSignal | undefined): Promise<void> {
    checkOwnKey(key);
    const path = pathOf(key);
    try {
      await unlink(path).catch(async (error: unknown) => {
        const code = codeOf(error);
        if (code === "ENOENT" || code === "ENOTDIR") return;
        // Linux says EISDIR, others EPERM: a folder isn't an object.
        if ((code === "EISDIR" || code === "EPERM") && (await lstat(path)).isDirectory()) return;
        throw error;
      });
      signal?.throwIfAborted();
      // Also when it wasn't there: an earlier try may have removed it without getting this far.
      await folders.settleRemoval(parentOf(key));
      await folders.prune(parentOf(key));
    } catch (error) {
      if (signal?.aborted && error === signal.reason) throw error;
      await throwIfGone(error);
      throw fileError(name, error, "delete", path);
    }
  }

  return {
    name,
    readBytes: READ_BYTES,
    putIfAbsent: (key, body, { crc32c, signal }) => calls.run(signal, () => putIfAbsent(key, body, crc32c, signal)),
    read: (key, range, options = {}) => calls.run(options.signal, () => read(key, range, options)),
    list: (prefix, options = {}) => calls.run(options.signal, () => list(prefix, options)),
    delete: (key, options) => calls.run(options?.signal, () => remove(key, options?.signal)),
    close: () => calls.close(),
  };
}
