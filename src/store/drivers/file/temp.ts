/** Files that are being written: in a folder of the store's root, so that linking one to its key is possible and at once. */
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import { join } from "node:path";
import { crc32c } from "../../../lib/crc32c.ts";
import type { ByteParts } from "../../driver.ts";
import { fsync, lstat, readdir, unlink, withFile, writeAll } from "./io.ts";
import { encodeTrailer } from "./trailer.ts";

/** No key starts so: projects' names start with a letter, a digit or `_`, and the format's marker is under `.format`. */
export const TEMP_FOLDER = ".tmp";

/** For the owner alone. */
const FILE_MODE = 0o600;

/** Bytes per system call, so that writing and checksumming overlap; larger ones gain nothing. */
const BATCH_BYTES = 4 * 1024 * 1024;
/** Linux's IOV_MAX: buffers per system call. */
const BATCH_BUFFERS = 1024;

/**
 * Age from which a temporary file counts as left behind by a dead process, in milliseconds. A put takes seconds; one that slept for
 * longer than this finds its file gone and fails as temporary.
 */
export const LEFTOVER_AGE_MS = 60 * 60 * 1000;

/** A new name in the temporary folder. */
export function tempPath(root: string): string {
  return join(root, TEMP_FOLDER, `${process.pid}-${randomBytes(8).toString("hex")}`);
}

/**
 * Writes an object's file and makes its bytes durable. Returns the CRC32C of what was written, for the caller to compare with the
 * declared one, which the trailer holds. After a rejection the file may exist.
 */
export async function writeTemp(path: string, body: ByteParts, declared: number, signal: AbortSignal | undefined): Promise<number> {
  const { O_WRONLY, O_CREAT, O_EXCL } = fs.constants;
  return withFile(path, O_WRONLY | O_CREAT | O_EXCL, FILE_MODE, async (fd) => {
    const size = body.reduce((sum, part) => sum + part.length, 0);
    let crc = 0;
    const trailer = encodeTrailer(size, declared);
    for (const batch of batches([...body, trailer])) {
      signal?.throwIfAborted();
      const written = writeAll(fd, batch);
      for (const part of batch) if (part !== trailer) crc = crc32c(part, crc);
      await written;
    }
    signal?.throwIfAborted();
    await fsync(fd);
    return crc;
  });
}

/** The parts that aren't empty, in batches for one system call each. */
function* batches(parts: ByteParts): Generator<Uint8Array[], void, void> {
  let batch: Uint8Array[] = [];
  let bytes = 0;
  for (const part of parts) {
    if (part.length === 0) continue;
    if (batch.length > 0 && (bytes + part.length > BATCH_BYTES || batch.length === BATCH_BUFFERS)) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(part);
    bytes += part.length;
  }
  if (batch.length > 0) yield batch;
}

/**
 * Removes what dead processes left behind. What can't be looked at or removed stays, and so does what has an object's name as well: by its
 * two names those who come after know that nobody may have made that object durable.
 */
export async function removeLeftovers(root: string, now: number): Promise<void> {
  const folder = join(root, TEMP_FOLDER);
  for (const { name } of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
    const path = join(folder, name);
    try {
      const { mtimeMs, nlink } = await lstat(path);
      if (nlink === 1 && now - mtimeMs >= LEFTOVER_AGE_MS) await unlink(path);
    } catch {
      // Another process was quicker, or it isn't ours to remove; either way it does no harm.
    }
  }
}
