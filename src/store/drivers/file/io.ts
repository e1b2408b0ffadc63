/**
 * Node's calls on raw file descriptors, as promises. `fs.promises` isn't used for them: its handles cost about twice the time of
 * the call on small files.
 */
import fs from "node:fs";
import { promisify } from "node:util";

export const open = promisify(fs.open);
export const close = promisify(fs.close);
export const fsync = promisify(fs.fsync);
export const fstat = promisify(fs.fstat) as (fd: number) => Promise<fs.Stats>;
export const lstat = promisify(fs.lstat) as (path: string) => Promise<fs.Stats>;
export const link = promisify(fs.link);
export const unlink = promisify(fs.unlink);
export const mkdir = promisify(fs.mkdir) as (path: string, mode: number) => Promise<void>;
export const rmdir = promisify(fs.rmdir) as (path: string) => Promise<void>;
export const readdir = promisify(fs.readdir) as (path: string, options: { withFileTypes: true }) => Promise<fs.Dirent[]>;
const fstatBig = promisify(fs.fstat) as (fd: number, options: { bigint: true }) => Promise<fs.BigIntStats>;
const read = promisify(fs.read) as (
  fd: number,
  buffer: Uint8Array,
  offset: number,
  length: number,
  position: number | null,
) => Promise<{ bytesRead: number }>;
const writev = promisify(fs.writev) as (fd: number, buffers: Uint8Array[]) => Promise<{ bytesWritten: number }>;

/** The system's code of an error (`ENOENT`), if it has one. */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
}

/** Runs `work` with a descriptor and closes it, whatever happens. An error of closing counts only if `work` had none. */
export async function withFile<T>(path: string, flags: number, mode: number, work: (fd: number) => Promise<T>): Promise<T> {
  const fd = await open(path, flags, mode);
  let result: T;
  try {
    result = await work(fd);
  } catch (error) {
    await close(fd).catch(() => {});
    throw error;
  }
  await close(fd);
  return result;
}

/** Reads `length` bytes from `position`, or up to the file's end. */
export async function readAt(
  fd: number,
  position: number,
  length: number,
  // Not from Node's pool: what is read may live long, and would keep a whole slab alive.
  allocate: (bytes: number) => Uint8Array = Buffer.allocUnsafeSlow,
): Promise<Uint8Array> {
  const buffer = allocate(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await read(fd, buffer, filled, length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}

/** Writes all of the buffers at the descriptor's position, none of them empty, also when the system takes only some of the bytes. */
export async function writeAll(fd: number, buffers: readonly Uint8Array[]): Promise<void> {
  let rest = [...buffers];
  while (rest.length > 0) {
    let { bytesWritten } = await writev(fd, rest);
    let whole = 0;
    while (whole < rest.length && bytesWritten >= (rest[whole] as Uint8Array).length) {
      bytesWritten -= (rest[whole] as Uint8Array).length;
      whole++;
    }
    rest = rest.slice(whole);
    if (bytesWritten > 0) rest[0] = (rest[0] as Uint8Array).subarray(bytesWritten);
  }
}

/**
 * Makes a folder's entries durable. Returns which folder it was, so that one that was removed and made again under the same
 * name is told apart.
 *
 * A descriptor of its own for each call: after a failed fsync Linux drops the dirty pages and reports the error once, so that a
 * second fsync on the same descriptor would claim success.
 */
export function fsyncFolder(path: string): Promise<string> {
  return withFile(path, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY, 0, async (fd) => {
    const stats = await fstatBig(fd, { bigint: true });
    await fsync(fd);
    return `${stats.dev}:${stats.ino}:${stats.birthtimeNs}`;
  });
}
