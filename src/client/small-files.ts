/** Small files of a download, written by as few system calls as keep a half file from ever having a name. */
import { randomUUID } from "node:crypto";
import fs from "node:fs";
import { sep } from "node:path";

const { O_CREAT, O_EXCL, O_WRONLY } = fs.constants;
const PERMISSION_BITS = 0o777;
const OWNER_RWX = 0o700;
/** Our own folder in a staging folder. Threads that make files in one folder wait for each other. */
const OUR_FOLDER = randomUUID();
/** What a file is called there until it is whole; there is one at a time. */
const PARTIAL_NAME = "file";

/**
 * Files whose bytes are all there, one behind the other. A list for each property: so they go to another thread in half the time that
 * an object for each file takes.
 */
export interface SmallFiles {
  /** Paths. */
  readonly finals: string[];
  /** Paths of the folders where they are written, on the same file system. */
  readonly stagings: string[];
  readonly sizes: number[];
  /** Permission bits. */
  readonly modes: number[];
  /** In seconds since 1970; `undefined`: now. */
  readonly mtimes: (number | string | undefined)[];
}

/** Makes a staging folder, if need be; something else of its name makes way. */
export function makeStaging(path: string): void {
  const stats = fs.lstatSync(path, { throwIfNoEntry: false });
  if (stats?.isDirectory()) return;
  if (stats) fs.rmSync(path);
  fs.mkdirSync(path, OWNER_RWX);
}

/** Removes a staging folder, and what a process that was killed left in it. Never throws. */
export function removeStaging(path: string): void {
  try {
    fs.rmSync(path, { recursive: true, force: true });
  } catch {
    // Somebody else's: it costs a folder that is hidden and empty, or as good as.
  }
}

/** Writes files, and gives the indexes of those that it didn't: something is in the way, or the system refuses. */
export function writeSmallFiles(files: SmallFiles, bytes: Uint8Array): number[] {
  const left: number[] = [];
  let offset = 0;
  for (const [index, size] of files.sizes.entries()) {
    if (!write(files, index, bytes.subarray(offset, offset + size))) left.push(index);
    offset += size;
  }
  return left;
}

/** Whether the file has its name. */
function write({ finals, stagings, modes, mtimes }: SmallFiles, index: number, bytes: Uint8Array): boolean {
  const staging = stagings[index] as string;
  const folder = staging + sep + OUR_FOLDER;
  const partial = folder + sep + PARTIAL_NAME;
  const mode = modes[index] as number;
  const mtime = mtimes[index];
  try {
    const fd = create(partial, folder, mode);
    try {
      for (let at = 0; at < bytes.length; ) at += fs.writeSync(fd, bytes, at);
      if ((fs.fstatSync(fd).mode & PERMISSION_BITS) !== mode) fs.fchmodSync(fd, mode);
      if (mtime !== undefined) fs.futimesSync(fd, mtime, mtime);
    } finally {
      fs.closeSync(fd);
    }
    fs.renameSync(partial, finals[index] as string);
    return true;
  } catch {
    remove(partial);
    return false;
  }
}

function create(partial: string, folder: string, mode: number): number {
  const open = () => fs.openSync(partial, O_CREAT | O_EXCL | O_WRONLY, mode);
  try {
    return open();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    // It is our first there, or another download into the same folder has ended, and tidied up.
    fs.mkdirSync(folder, { recursive: true, mode: OWNER_RWX });
    return open();
  }
}

function remove(path: string): void {
  try {
    fs.unlinkSync(path);
  } catch {
    // It isn't there, or can't be reached: then the folder goes, or is no staging folder.
  }
}
