import type { StoreErrorKind } from "../../driver.ts";
import { StoreError } from "../../driver.ts";
import { codeOf } from "./io.ts";

/** What each error of the system means for a store, and what a person can do about it. */
const MEANINGS: Readonly<Record<string, readonly [StoreErrorKind, string]>> = {
  ENOSPC: ["full", "no space left: free space (or inodes: `df -i`) on its file system"],
  EDQUOT: ["full", "the disk quota is used up: free space or ask for a larger quota"],
  EFBIG: ["full", "the file is over the size that is allowed here: see `ulimit -f`"],
  EACCES: ["denied", "permission denied: the folder and all in it must belong to the user that runs the server"],
  EPERM: ["denied", "operation not permitted: the folder and all in it must belong to the user that runs the server"],
  EROFS: ["denied", "the file system is read-only: mount it for writing or choose another folder"],
  EMFILE: ["temporary", "too many open files: raise the limit of the server's process (`ulimit -n`)"],
  ENFILE: ["temporary", "too many open files on this machine: raise fs.file-max"],
  ENOMEM: ["temporary", "the system is out of memory"],
  EAGAIN: ["temporary", "the system is busy"],
  EBUSY: ["temporary", "the file is busy"],
  EINTR: ["temporary", "the call was interrupted"],
  ESTALE: ["temporary", "the network file system changed under us"],
  ETIMEDOUT: ["temporary", "the network file system doesn't answer"],
  EIO: ["failed", "the disk reports an error: check it (`dmesg`) before you go on"],
  ENAMETOOLONG: ["misconfigured", "the path is too long: choose a folder with a shorter path"],
  EXDEV: ["misconfigured", "a folder in the store lies on another file system: keep the whole store on one"],
  ENOTSUP: ["unsupported", "the file system lacks what the store needs (hard links, fsync): choose another"],
  EOPNOTSUPP: ["unsupported", "the file system lacks what the store needs (hard links, fsync): choose another"],
  ENOSYS: ["unsupported", "the file system lacks what the store needs (hard links, fsync): choose another"],
};

/** The store's error for an error of the system; one line that names the store, the path and what to do. */
export function fileError(store: string, error: unknown, doing: string, path: string): StoreError {
  if (error instanceof StoreError) return error;
  const code = codeOf(error);
  const [kind, meaning] = MEANINGS[code ?? ""] ?? ["failed", error instanceof Error ? error.message : String(error)];
  return new StoreError(kind, `${store}: cannot ${doing} ${path}: ${meaning}${code === undefined ? "" : ` (${code})`}`, { cause: error });
}

/** The error for a store whose folder went away while it was in use. */
export function goneError(store: string, path: string, cause: unknown): StoreError {
  return new StoreError("misconfigured", `${store}: the store's folder ${path} is gone: was it removed, or its disk unmounted?`, { cause });
}
