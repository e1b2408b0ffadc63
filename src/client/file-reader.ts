/** Reads files that are uploaded, and notices when they change meanwhile. */
import fs from "node:fs";
import type { FileHandle } from "node:fs/promises";
import type { BufferPool } from "../lib/buffer-pool.ts";
import { ArtifactsUploadError, withPath } from "./errors.ts";
import type { LocalEntry } from "./walk.ts";

/**
 * Files up to this size are read by synchronous calls, at once: that is several times as fast for many of them. On a slow file system
 * the program that uploads waits for one of them at a time.
 */
export const SMALL_FILE_BYTES = 1024 * 1024;

// A FIFO that has taken a file's place must not be waited for.
const OPEN_FLAGS = fs.constants.O_RDONLY | fs.constants.O_NONBLOCK;

/** Reads a small file into `buffer`, which has room for a byte more. Gives what is read; `undefined` if it isn't as it was when it was looked at. */
export function readSmallFile(entry: LocalEntry, buffer: Uint8Array): Uint8Array | undefined {
  const fd = fs.openSync(entry.local, OPEN_FLAGS);
  try {
    // The byte more is to notice that it grew.
    let length = 0;
    while (length <= entry.size) {
      const read = fs.readSync(fd, buffer, length, entry.size + 1 - length, null);
      if (read === 0) break;
      length += read;
    }
    const stats = fs.fstatSync(fd, { bigint: true });
    if (length !== entry.size || stats.mtimeNs !== entry.mtimeNs || Number(stats.size) !== entry.size) return undefined;
    return buffer.subarray(0, length);
  } catch (error) {
    throw withPath(error, entry.local);
  } finally {
    fs.closeSync(fd);
  }
}

export interface OpenedFile {
  readonly size: number;
  readonly mode: number;
  readonly mtimeNs: bigint;
  /**
   * Up to `size` bytes from the start, a buffer of `buffers` at a time, the next one read while this one is used. What is given stays until
   * the next is asked for.
   */
  chunks(buffers: BufferPool): AsyncGenerator<Uint8Array, void, undefined>;
  /** Whether it has another size or modification time than when it was opened. */
  changed(): Promise<boolean>;
  close(): Promise<void>;
}

export async function openFile(local: string): Promise<OpenedFile> {
  const handle = await fs.promises.open(local, OPEN_FLAGS);
  try {
    const stats = await handle.stat({ bigint: true });
    if (!stats.isFile()) throw new ArtifactsUploadError(`${local} is no file any more`);
    const size = Number(stats.size);
    return {
      size,
      mode: Number(stats.mode & 0o777n),
      mtimeNs: stats.mtimeNs,
      chunks: (buffers) => readChunks(handle, local, size, buffers),
      async changed() {
        const now = await handle.stat({ bigint: true });
        return now.size !== stats.size || now.mtimeNs !== stats.mtimeNs;
      },
      close: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function* readChunks(
  handle: FileHandle,
  local: string,
  size: number,
  buffers: BufferPool,
): AsyncGenerator<Uint8Array, void, undefined> {
  const read = async (position: number): Promise<{ buffer: Uint8Array<ArrayBuffer>; length: number }> => {
    const buffer = buffers.take();
    const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, size - position), position).catch((error) => {
      throw withPath(error, local);
    });
    return { buffer, length: bytesRead };
  };
  let position = 0;
  let next = size > 0 ? read(0) : undefined;
  next?.catch(() => {});
  while (next) {
    const { buffer, length } = await next;
    position += length;
    // A file that shrank ends early; that it did shows in its size.
    next = length > 0 && position < size ? read(position) : undefined;
    next?.catch(() => {});
    if (length > 0) yield buffer.subarray(0, length);
    buffers.give(buffer);
  }
}
