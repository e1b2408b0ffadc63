/** Small files of a download, written by as few system calls as keep a half file from ever having a name. */
import fs from "node:fs";

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = fs.constants;
const PERMISSION_BITS = 0o777;

/** A file whose bytes are all there. */
export interface SmallFile {
  /** Its path until it is whole. */
  readonly partial: string;
  readonly final: string;
  /** Permission bits. */
  readonly mode: number;
  /** In seconds since 1970; `undefined`: now. */
  readonly mtime: string | undefined;
  /** Where its bytes begin in what is handed on with it. */
  readonly offset: number;
  readonly size: number;
}

/**
 * Writes files, and gives the indexes of those that it didn't: something is in the way, or the system refuses. Nothing has their name
 * then, but their partial file may be there.
 */
export function writeSmallFiles(files: readonly SmallFile[], bytes: Uint8Array): number[] {
  const left: number[] = [];
  for (const [index, file] of files.entries()) {
    try {
      if (!write(file, bytes)) left.push(index);
    } catch {
      left.push(index);
    }
  }
  return left;
}

/** Whether the file has its name. */
function write({ partial, final, mode, mtime, offset, size }: SmallFile, bytes: Uint8Array): boolean {
  const fd = fs.openSync(partial, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, mode);
  let ours: fs.Stats;
  try {
    for (let at = 0; at < size; ) at += fs.writeSync(fd, bytes, offset + at, size - at, at);
    ours = fs.fstatSync(fd);
    if ((ours.mode & PERMISSION_BITS) !== mode) fs.fchmodSync(fd, mode);
    if (mtime !== undefined) fs.futimesSync(fd, mtime, mtime);
  } finally {
    fs.closeSync(fd);
  }
  // Another process may have given the file its name and begun a new one, which must not be taken for ours.
  if (fs.lstatSync(partial).ino !== ours.ino) return false;
  fs.renameSync(partial, final);
  return true;
}
