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
const MS_PER_SECOND = 1e3;
/** Times that differ by less are the same: the runtime sets and tells them as numbers that are not exact. */
const SAME_MS = 1e-3;
const PERMISSION_BITS = 0o777;
const DEFAULT_MODE = 0o644;
const PARTIAL_MODE = 0o600;
/** Files up to this size are read and written by synchronous calls, which is several times as fast for many of them. */
export const AT_ONCE_BYTES = 1024 * 1024;
/** How a link, a socket or a file that can't be written says that it is that. */
const NO_FILE = ["ELOOP", "ENXIO", "EACCES"];
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
  /** What has those bytes, as it was when they were read. */
  readonly stats: fs.Stats | undefined;
}

export const NOTHING_FOUND: Found = { length: 0, crc: 0, whole: false, stats: undefined };

/** What is there is not the file; it is when it comes again, from its first byte. */
export class RefetchError extends ArtifactsDownloadError {
  readonly path: string;
  /** Whether it is of no use even if its bytes are right. */
  readonly isForeign: boolean;

  constructor({ path }: WantedFile, problem: string, { reason, isForeign = false }: { reason?: string; isForeign?: boolean } = {}) {
    super(`${JSON.stringify(path)} ${problem}`, { reason });
    this.path = path;
    this.isForeign = isForeign;
  }
}

export function damaged(file: WantedFile, what: "size" | "checksum"): RefetchError {
  return new RefetchError(file, `arrived damaged: its ${what} is not that of the uploaded file`, { reason: "DATA_DAMAGED" });
}

function lost(file: WantedFile): RefetchError {
  return new RefetchError(file, "can't be finished: its partial file was removed or replaced while it was written");
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
  const whole = await lookAt(final, (stats) => stats.size === size && isOurs(stats, file), signal);
  if (whole?.crc === file.crc32c) return { ...whole, whole: true };
  const begun = await lookAt(partialPath(final, file), (stats) => stats.size > 0 && isOurs(stats, file), signal);
  return begun ? { ...begun, whole: false } : NOTHING_FOUND;
}

// More than the file has is nothing that we wrote, and behind a second name may be a file of somebody else.
function isOurs(stats: fs.Stats, { size }: WantedFile): boolean {
  return stats.isFile() && stats.nlink === 1 && stats.size <= size;
}

/** What can't be looked at doesn't count: writing will say why. */
async function lookAt(
  path: string,
  counts: (stats: fs.Stats) => boolean,
  signal: AbortSignal | undefined,
): Promise<Omit<Found, "whole"> | undefined> {
  let fd: number;
  try {
    // Most aren't there, which an error takes longer to tell.
    const there = fs.lstatSync(path, { throwIfNoEntry: false });
    if (there === undefined || !counts(there)) return undefined;
    fd = fs.openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch {
    return undefined;
  }
  try {
    const stats = fs.fstatSync(fd);
    const crc = counts(stats) ? await crcOf(fd, stats.size, signal) : undefined;
    return crc === undefined ? undefined : { length: stats.size, crc, stats };
  } finally {
    fs.closeSync(fd);
  }
}

async function crcOf(fd: number, length: number, signal: AbortSignal | undefined): Promise<number | undefined> {
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
}

/** Times that a file which changes is looked at. */
const LOOKS = 3;

/** Sets mode and time of a file that is there already. One that isn't what was found any more, or is another user's, has to come. */
export async function adoptFile(final: string, file: WantedFile, found: Found): Promise<void> {
  let there = found;
  for (let looks = 0; looks < LOOKS && there.whole; looks++) {
    if (adoptAsItWas(final, file, there.stats)) return;
    // Perhaps it is what another download of the same made of it.
    there = await findFile(final, file, undefined);
  }
  throw new RefetchError(file, "was there, and was changed or taken away during the download");
}

function adoptAsItWas(final: string, file: WantedFile, found: fs.Stats | undefined): boolean {
  let fd: number;
  try {
    fd = fs.openSync(final, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch {
    return false;
  }
  try {
    const stats = fs.fstatSync(fd);
    if (found === undefined || !isAsItWas(stats, found)) return false;
    naming(final, () => setAttributes(fd, file, stats));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPERM") throw error;
    throw new RefetchError(file, "is there, but belongs to another user", { isForeign: true });
  } finally {
    fs.closeSync(fd);
  }
}

function isAsItWas(stats: fs.Stats, found: fs.Stats): boolean {
  const { ino, size, mtimeMs, ctimeMs } = found;
  return stats.ino === ino && stats.size === size && stats.mtimeMs === mtimeMs && stats.ctimeMs === ctimeMs;
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
  readonly #stats: fs.Stats;
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
    const fd = naming(final, () => (found.length > 0 ? openBegun(this.#partial) : openPartial(this.#partial, file)));
    if (fd === undefined) throw lost(file);
    this.#fd = fd;
    this.#stats = fs.fstatSync(this.#fd);
    if (found.length === 0) return;
    if (isOurs(this.#stats, file) && found.stats?.ino === this.#stats.ino && found.length <= this.#stats.size) return;
    // Somebody else finished what was found, or took it away: writing behind it would leave a hole.
    this.#close();
    throw lost(file);
  }

  /** The file's path in the run. */
  get path(): string {
    return this.#file.path;
  }

  /** What is there of the file, once all that was written has ended. */
  get found(): Found {
    return { length: this.#length, crc: this.#crc, whole: false, stats: this.#stats };
  }

  /** Writes behind the bytes so far; the next call waits for the one before, so that one is written while the next arrives. */
  async write(parts: readonly Uint8Array[]): Promise<void> {
    await this.#settled();
    // Somebody else finished it: what has its name now may be changed by whoever waited for it.
    if (!this.#isThere()) throw lost(this.#file);
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
    const found = await findFile(this.#final, this.#file, undefined);
    if (!found.whole) throw lost(this.#file);
    await adoptFile(this.#final, this.#file, found);
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
      throw damaged(this.#file, this.#length === size ? "checksum" : "size");
    }
    return naming(this.#final, () => {
      const isThere = this.#isThere();
      if (isThere) setAttributes(this.#fd, this.#file, fs.fstatSync(this.#fd));
      // Not before: a new one could have the inode of one that nobody has any more.
      this.#close();
      if (!isThere) return false;
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

  // Another process may have given the file its name and begun a new one, which must not be taken for ours.
  #isThere(): boolean {
    return fs.lstatSync(this.#partial, { throwIfNoEntry: false })?.ino === this.#stats.ino;
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

/** Opens the partial file, or makes it; what can't be one makes way. Others do the same: what was there may be gone a call later. */
function openPartial(partial: string, file: WantedFile): number {
  for (;;) {
    const made = openUnless(["EEXIST"], partial, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW);
    if (made !== undefined) return made;
    const there = openBegun(partial);
    if (there !== undefined && isOurs(fs.fstatSync(there), file)) return there;
    if (there !== undefined) fs.closeSync(there);
    fs.rmSync(partial, { force: true });
  }
}

/** `undefined` if nothing is there, or nothing that can be written. */
function openBegun(partial: string): number | undefined {
  return openUnless(["ENOENT", ...NO_FILE], partial, O_RDWR | O_NOFOLLOW | O_NONBLOCK);
}

function openUnless(codes: readonly string[], path: string, flags: number): number | undefined {
  try {
    return fs.openSync(path, flags, PARTIAL_MODE);
  } catch (error) {
    if (codes.includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
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

/** Sets what differs from what the file has now. */
function setAttributes(fd: number, file: WantedFile, { mode, mtimeMs }: fs.Stats): void {
  if ((mode & PERMISSION_BITS) !== modeOf(file)) fs.fchmodSync(fd, modeOf(file));
  const mtime = mtimeOf(file);
  if (mtime !== undefined && Math.abs(mtimeMs - Number(mtime) * MS_PER_SECOND) >= SAME_MS) fs.futimesSync(fd, mtime, mtime);
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
