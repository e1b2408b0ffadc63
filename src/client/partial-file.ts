/**
 * One file of a download: looked for, written as `.{hash}.partial` in its own folder, checked, and given its name.
 *
 * Two downloads into one folder don't harm each other: they write the same bytes to the same places of the same partial file, which is
 * never made shorter, and whoever comes second finds the file there.
 */
import { hash } from "node:crypto";
import fs from "node:fs";
import { basename } from "node:path";
import { promisify } from "node:util";
import { crc32c, formatCrc32c } from "../lib/crc32c.ts";
import { ArtifactsDownloadError, naming } from "./errors.ts";

const NS_PER_SECOND = 1e9;
const PERMISSION_BITS = 0o777;
const DEFAULT_MODE = 0o644;
const PARTIAL_MODE = 0o600;
/** Files up to this size are read and written by synchronous calls, which is several times as fast for many of them. */
export const AT_ONCE_BYTES = 1024 * 1024;
const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR } = fs.constants;
const read = promisify(fs.read);

/** A file that is to be there in the end. */
export interface WantedFile {
  /** Its path in the run. */
  readonly path: string;
  readonly size: number;
  readonly crc32c: number;
  readonly mode: number | undefined;
  readonly mtimeNs: bigint | undefined;
}

/** What is there of a file already: all of it under its name, or the beginning of it under its partial one. */
export interface Found {
  readonly length: number;
  /** CRC32C of those bytes. */
  readonly crc: number;
  /** Whether it is all of it, under its name. */
  readonly whole: boolean;
}

export const NOTHING_FOUND: Found = { length: 0, crc: 0, whole: false };

/** What arrived is not the file; perhaps it is when it comes again. */
export class DamagedFileError extends ArtifactsDownloadError {
  readonly path: string;

  constructor({ path }: WantedFile, what: string) {
    super(`${JSON.stringify(path)} arrived damaged: its ${what} is not that of the uploaded file`, { reason: "DATA_DAMAGED" });
    this.path = path;
  }
}

/** The name under which a file is written: it tells whether what is found there is of the same file. */
export function partialName(file: Pick<WantedFile, "path" | "size" | "crc32c">): string {
  const digest = hash("sha256", `${file.path}\0${file.size}\0${formatCrc32c(file.crc32c)}`, "hex");
  return `.${digest.slice(0, 32)}.partial`;
}

/** Where a file is written until it is whole: in its own folder. */
export function partialPath(final: string, file: Pick<WantedFile, "path" | "size" | "crc32c">): string {
  return final.slice(0, final.length - basename(final).length) + partialName(file);
}

/** Looks for a file; links are not followed. */
export async function findFile(final: string, file: WantedFile, signal: AbortSignal | undefined): Promise<Found> {
  const { size } = file;
  const stats = fs.lstatSync(final, { throwIfNoEntry: false });
  if (stats?.isFile() && stats.size === size && (await crcOf(final, size, signal)) === file.crc32c)
    return { length: size, crc: file.crc32c, whole: true };
  const partial = partialPath(final, file);
  const begun = fs.lstatSync(partial, { throwIfNoEntry: false });
  if (!begun?.isFile() || begun.size === 0 || !isOurs(begun, file)) return NOTHING_FOUND;
  const crc = await crcOf(partial, begun.size, signal);
  return crc === undefined ? NOTHING_FOUND : { length: begun.size, crc, whole: false };
}

// More than the file has is nothing that we wrote, and behind a second name may be a file of somebody else.
function isOurs(stats: fs.Stats, { size }: WantedFile): boolean {
  return stats.isFile() && stats.nlink === 1 && stats.size <= size;
}

async function crcOf(path: string, length: number, signal: AbortSignal | undefined): Promise<number | undefined> {
  const fd = fs.openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    const buffer = Buffer.allocUnsafe(Math.min(AT_ONCE_BYTES, length));
    let crc = 0;
    for (let at = 0; at < length; ) {
      signal?.throwIfAborted();
      const wanted = Math.min(buffer.length, length - at);
      const got = length <= AT_ONCE_BYTES ? fs.readSync(fd, buffer, 0, wanted, at) : (await read(fd, buffer, 0, wanted, at)).bytesRead;
      if (got === 0) return undefined;
      crc = crc32c(buffer.subarray(0, got), crc);
      at += got;
    }
    return crc;
  } finally {
    fs.closeSync(fd);
  }
}

/** Sets mode and time of a file that is there already. */
export function adoptFile(final: string, file: WantedFile): void {
  naming(final, () => {
    const fd = fs.openSync(final, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    try {
      setAttributes(fd, file);
    } finally {
      fs.closeSync(fd);
    }
  });
}

export function refuseFolder(final: string): void {
  if (fs.lstatSync(final, { throwIfNoEntry: false })?.isDirectory())
    throw new ArtifactsDownloadError(`${final} is a folder, but the run has a file there`);
}

/** One file while its bytes come. */
export class PartialFile {
  readonly #file: WantedFile;
  readonly #final: string;
  readonly #partial: string;
  readonly #fd: number;
  #isOpen = true;
  #length: number;
  #crc: number;
  #writing: Promise<void> = Promise.resolve();
  #failure: { readonly error: unknown } | undefined;

  /** Goes on behind what was found. */
  constructor(final: string, file: WantedFile, found: Found) {
    refuseFolder(final);
    this.#file = file;
    this.#final = final;
    this.#partial = partialPath(final, file);
    this.#length = found.length;
    this.#crc = found.crc;
    this.#fd = naming(final, () => openPartial(this.#partial, file));
  }

  /** The file's path in the run. */
  get path(): string {
    return this.#file.path;
  }

  /** What is there of the file, once all that was written has ended. */
  get found(): Found {
    return { length: this.#length, crc: this.#crc, whole: false };
  }

  /** Writes behind the bytes so far; the next call waits for the one before, so that one is written while the next arrives. */
  async write(parts: readonly Uint8Array[]): Promise<void> {
    await this.#settled();
    const position = this.#length;
    for (const part of parts) this.#count(part);
    this.#writing = writeAll(this.#fd, parts, position).catch((error) => {
      this.#failure = { error };
    });
  }

  /** Checks the whole file and gives it its name. */
  async finish(): Promise<void> {
    await this.#settled();
    if (this.#give()) return;
    if ((await findFile(this.#final, this.#file, undefined)).whole) adoptFile(this.#final, this.#file);
    else throw new ArtifactsDownloadError(`${this.#final} can't be finished: its partial file was removed`);
  }

  /** Leaves what is written to be gone on with. */
  async leave(): Promise<void> {
    await this.#writing;
    this.#close();
  }

  async #settled(): Promise<void> {
    await this.#writing;
    if (this.#failure) naming(this.#final, () => raise(this.#failure?.error));
  }

  // Whether the file has its name; if not, somebody else may have given it one.
  #give(): boolean {
    if (!this.#isOpen) return false;
    const { size, crc32c: expected } = this.#file;
    if (this.#length !== size || this.#crc !== expected) {
      this.#close();
      fs.rmSync(this.#partial, { force: true });
      throw new DamagedFileError(this.#file, this.#length === size ? "checksum" : "size");
    }
    return naming(this.#final, () => {
      const ours = fs.fstatSync(this.#fd);
      setAttributes(this.#fd, this.#file, ours.mode);
      this.#close();
      // Another process may have given the file its name and begun a new one, which must not be taken for ours.
      const there = fs.lstatSync(this.#partial, { throwIfNoEntry: false });
      if (there?.ino !== ours.ino) return false;
      try {
        fs.renameSync(this.#partial, this.#final);
        return true;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
        fs.rmSync(this.#partial, { force: true });
        refuseFolder(this.#final);
        throw error;
      }
    });
  }

  #count(part: Uint8Array): void {
    this.#crc = crc32c(part, this.#crc);
    this.#length += part.length;
  }

  #close(): void {
    if (this.#isOpen) fs.closeSync(this.#fd);
    this.#isOpen = false;
  }
}

function openPartial(partial: string, file: WantedFile): number {
  const create = () => fs.openSync(partial, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW, PARTIAL_MODE);
  try {
    return create();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  try {
    const fd = fs.openSync(partial, O_CREAT | O_RDWR | O_NOFOLLOW | O_NONBLOCK, PARTIAL_MODE);
    if (isOurs(fs.fstatSync(fd), file)) return fd;
    fs.closeSync(fd);
  } catch (error) {
    // A link, or something else that can't be written, has the name.
    if (!["ELOOP", "ENXIO", "EACCES"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
  fs.rmSync(partial, { force: true });
  return create();
}

/** Permission bits that the file is to have. */
export function modeOf({ mode = DEFAULT_MODE }: WantedFile): number {
  return mode & PERMISSION_BITS;
}

/** Its time in seconds since 1970. One before that as text, since of a negative number the runtime makes the present. */
export function mtimeOf({ mtimeNs }: WantedFile): number | string | undefined {
  if (mtimeNs === undefined) return undefined;
  const seconds = Number(mtimeNs) / NS_PER_SECOND;
  return seconds < 0 ? String(seconds) : seconds;
}

/** `mode`: what it has now, where that is known. */
function setAttributes(fd: number, file: WantedFile, mode?: number): void {
  if (mode === undefined || (mode & PERMISSION_BITS) !== modeOf(file)) fs.fchmodSync(fd, modeOf(file));
  const mtime = mtimeOf(file);
  if (mtime !== undefined) fs.futimesSync(fd, mtime, mtime);
}

function writeAll(fd: number, parts: readonly Uint8Array[], position: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const total = parts.reduce((sum, part) => sum + part.length, 0);
    fs.writev(fd, parts, position, (error, written) => {
      if (error) reject(error);
      else if (written === total) resolve();
      else writeAll(fd, [Buffer.concat(parts).subarray(written)], position + written).then(resolve, reject);
    });
  });
}

function raise(error: unknown): never {
  throw error;
}
