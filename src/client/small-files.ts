/** Small files of a download, written by as few system calls as keep a half file from ever having a name. */
import fs from "node:fs";

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = fs.constants;
const PERMISSION_BITS = 0o777;

/**
 * Files whose bytes are all there, one behind the other. A list for each property: so they go to another thread in half the time that
 * an object for each file takes.
 */
export interface SmallFiles {
  /** Paths. */
  readonly finals: string[];
  /** Paths until the files are whole. */
  readonly partials: string[];
  readonly sizes: number[];
  /** Permission bits. */
  readonly modes: number[];
  /** In seconds since 1970; `undefined`: now. */
  readonly mtimes: (number | string | undefined)[];
}

/**
 * Writes files, and gives the indexes of those that it didn't: something is in the way, or the system refuses. Nothing has their name
 * then, but their partial file may be there.
 */
export function writeSmallFiles(files: SmallFiles, bytes: Uint8Array): number[] {
  const left: number[] = [];
  let offset = 0;
  for (const [index, size] of files.sizes.entries()) {
    try {
      if (!write(files, index, bytes, offset)) left.push(index);
    } catch {
      left.push(index);
    }
    offset += size;
  }
  return left;
}

/** Whether the file has its name. */
function write({ finals, partials, sizes, modes, mtimes }: SmallFiles, index: number, bytes: Uint8Array, offset: number): boolean {
  const partial = partials[index] as string;
  const size = sizes[index] as number;
  const mode = modes[index] as number;
  const mtime = mtimes[index];
  const fd = fs.openSync(partial, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, mode);
  try {
    for (let at = 0; at < size; ) at += fs.writeSync(fd, bytes, offset + at, size - at, at);
    const ours = fs.fstatSync(fd);
    if ((ours.mode & PERMISSION_BITS) !== mode) fs.fchmodSync(fd, mode);
    if (mtime !== undefined) fs.futimesSync(fd, mtime, mtime);
    // Another process may have given the file its name and begun a new one, which must not be taken for ours.
    if (fs.lstatSync(partial).ino !== ours.ino) return false;
  } finally {
    fs.closeSync(fd);
  }
  try {
    fs.renameSync(partial, finals[index] as string);
    return true;
  } catch {
    fs.rmSync(partial, { force: true });
    return false;
  }
}
