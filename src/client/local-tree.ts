/**
 * Writes what is downloaded below one folder, and nowhere else: never through links that are found there, never half a file under its
 * real name. A file is written as `.{hash}.partial` in its own folder and renamed when its checksum is right.
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import { basename, dirname, join } from "node:path";
import { crc32c, formatCrc32c } from "../lib/crc32c.ts";
import { pathProblem } from "../lib/paths.ts";
import { ArtifactsDownloadError } from "./errors.ts";

const NS_PER_SECOND = 1e9;
const OWNER_RWX = 0o700;
const PERMISSION_BITS = 0o777;
const READ_BYTES = 1024 * 1024;
const { O_CREAT, O_NOFOLLOW, O_RDONLY, O_RDWR } = fs.constants;

/** A file that is to be there in the end. */
export interface WantedFile {
  /** Its path in the run. */
  readonly path: string;
  readonly size: number;
  readonly crc32c: number;
  readonly mode: number | undefined;
  readonly mtimeNs: bigint | undefined;
}

/** The name under which a file is written: it tells whether what is found there is of the same file. */
export function partialName(file: Pick<WantedFile, "path" | "size" | "crc32c">): string {
  const hash = createHash("sha256")
    .update(`${file.path}\0${file.size}\0${formatCrc32c(file.crc32c)}`)
    .digest("hex");
  return `.${hash.slice(0, 32)}.partial`;
}

export class LocalTree {
  /** The folder that nothing is written outside of. */
  readonly #root: string;
  readonly #checked = new Set<string>();
  readonly #folders: { path: string; mode: number }[] = [];

  constructor(root: string) {
    this.#root = root;
  }

  /** Makes the root and what is above it, if need be. */
  makeRoot(): void {
    fs.mkdirSync(this.#root, { recursive: true });
    if (!fs.statSync(this.#root).isDirectory()) throw new ArtifactsDownloadError(`${this.#root} is not a folder`);
  }

  /** Where an entry goes, its folders made. */
  place(relative: string): string {
    const problem = pathProblem(relative);
    if (problem !== undefined) throw new ArtifactsDownloadError(`path ${JSON.stringify(relative)} ${problem}: nothing is written for it`);
    const parent = dirname(relative);
    if (parent !== ".") this.#makeFolder(parent);
    return join(this.#root, relative);
  }

  /** Makes a folder; its mode is set in the end, when its contents are there. */
  addFolder(relative: string, mode: number | undefined): void {
    this.place(relative);
    this.#makeFolder(relative);
    if (mode !== undefined) this.#folders.push({ path: join(this.#root, relative), mode: mode & PERMISSION_BITS });
  }

  addLink(relative: string, target: string): void {
    let level = target.startsWith("/") ? -1 : relative.split("/").length - 1;
    for (const segment of target.split("/")) {
      if (level < 0) break;
      if (segment === "..") level--;
      else if (segment !== "" && segment !== ".") level++;
    }
    if (level < 0)
      throw new ArtifactsDownloadError(
        `${relative} is a link to ${target}, outside of what is downloaded: download a folder that holds both`,
      );
    const final = this.place(relative);
    refuseFolder(final);
    const partial = join(dirname(final), partialName({ path: relative, size: 0, crc32c: crc32c(Buffer.from(target)) }));
    fs.rmSync(partial, { force: true });
    fs.symlinkSync(target, partial);
    fs.renameSync(partial, final);
  }

  /** Sets the folders' modes, the deepest first. */
  finish(): void {
    for (const { path, mode } of this.#folders.reverse()) fs.chmodSync(path, mode);
  }

  #makeFolder(relative: string): void {
    if (this.#checked.has(relative)) return;
    const parent = dirname(relative);
    if (parent !== ".") this.#makeFolder(parent);
    const path = join(this.#root, relative);
    const stats = fs.lstatSync(path, { throwIfNoEntry: false });
    if (!stats) fs.mkdirSync(path);
    else if (stats.isSymbolicLink()) throw new ArtifactsDownloadError(`${path} is a link: nothing is written through links`);
    else if (!stats.isDirectory()) throw new ArtifactsDownloadError(`${path} is not a folder, but the run has one there`);
    // A folder of an earlier download may have been made read-only by its mode.
    else if ((stats.mode & OWNER_RWX) !== OWNER_RWX) {
      fs.chmodSync(path, (stats.mode & PERMISSION_BITS) | OWNER_RWX);
      this.#folders.push({ path, mode: stats.mode & PERMISSION_BITS });
    }
    this.#checked.add(relative);
  }
}

export function refuseFolder(final: string): void {
  if (fs.lstatSync(final, { throwIfNoEntry: false })?.isDirectory())
    throw new ArtifactsDownloadError(`${final} is a folder, but the run has a file there`);
}

/** What is there of a file already: all of it under its name, or the beginning of it under its partial one. */
export interface Found {
  readonly length: number;
  /** Whether `length` is all of it, under its name. */
  readonly whole: boolean;
}

/** Looks for a file below the root of a tree; links are not followed. */
export function findFile(final: string, file: WantedFile): Found {
  const stats = fs.lstatSync(final, { throwIfNoEntry: false });
  if (stats?.isFile() && stats.size === file.size && crcOf(final, file.size) === file.crc32c) return { length: file.size, whole: true };
  const partial = fs.lstatSync(join(dirname(final), partialName(file)), { throwIfNoEntry: false });
  // More than the file has is nothing that we wrote.
  return { length: partial?.isFile() && partial.size <= file.size ? partial.size : 0, whole: false };
}

function crcOf(path: string, length: number): number | undefined {
  const fd = fs.openSync(path, O_RDONLY | O_NOFOLLOW);
  try {
    return crcOfOpen(fd, length);
  } finally {
    fs.closeSync(fd);
  }
}

// `undefined` if there are fewer bytes.
function crcOfOpen(fd: number, length: number): number | undefined {
  const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, Math.max(1, length)));
  let crc = 0;
  for (let at = 0; at < length; ) {
    const read = fs.readSync(fd, buffer, 0, Math.min(buffer.length, length - at), at);
    if (read === 0) return undefined;
    crc = crc32c(buffer.subarray(0, read), crc);
    at += read;
  }
  return crc;
}

/** Sets mode and time of a file that is there already. */
export function adoptFile(final: string, file: WantedFile): void {
  const fd = fs.openSync(final, O_RDONLY | O_NOFOLLOW);
  try {
    setAttributes(fd, file);
  } finally {
    fs.closeSync(fd);
  }
}

/** One file while its bytes come. */
export class PartialFile {
  readonly #file: WantedFile;
  readonly #final: string;
  readonly #partial: string;
  readonly #fd: number;
  #crc = 0;
  /** Bytes that are written, or on their way. */
  length: number;
  #writing: Promise<void> = Promise.resolve();
  #failure: { readonly error: unknown } | undefined;

  /** Goes on behind `from` bytes that are there. */
  constructor(final: string, file: WantedFile, from: number) {
    refuseFolder(final);
    this.#file = file;
    this.#final = final;
    this.#partial = join(dirname(final), partialName(file));
    this.#fd = fs.openSync(this.#partial, O_CREAT | O_RDWR | O_NOFOLLOW, 0o600);
    const crc = from > 0 ? crcOfOpen(this.#fd, from) : 0;
    if (crc === undefined) {
      fs.closeSync(this.#fd);
      throw new ArtifactsDownloadError(`${this.#partial} became shorter while it was written`);
    }
    this.#crc = crc;
    this.length = from;
    fs.ftruncateSync(this.#fd, from);
  }

  /** Writes what a small file has, at once. */
  writeNow(parts: readonly Uint8Array[]): void {
    for (const part of parts) {
      this.#crc = crc32c(part, this.#crc);
      for (let at = 0; at < part.length; ) at += fs.writeSync(this.#fd, part, at, part.length - at, this.length + at);
      this.length += part.length;
    }
  }

  /** Writes behind the bytes so far; the next call waits for the one before, so that one is written while the next arrives. */
  async write(parts: readonly Uint8Array[]): Promise<void> {
    await this.#writing;
    if (this.#failure) throw this.#failure.error;
    const position = this.length;
    for (const part of parts) {
      this.#crc = crc32c(part, this.#crc);
      this.length += part.length;
    }
    this.#writing = writeAll(this.#fd, parts, position).catch((error) => {
      this.#failure = { error };
    });
  }

  /** Checks the whole file and gives it its name. */
  async finish(): Promise<void> {
    await this.#writing;
    this.finishNow();
  }

  finishNow(): void {
    if (this.#failure) throw this.#failure.error;
    const { path, size, crc32c: expected } = this.#file;
    if (this.length !== size || this.#crc !== expected) {
      fs.closeSync(this.#fd);
      fs.rmSync(this.#partial, { force: true });
      throw new ArtifactsDownloadError(
        `${path} arrived damaged: its ${this.length === size ? "checksum" : "size"} is not that of the uploaded file`,
      );
    }
    setAttributes(this.#fd, this.#file);
    fs.closeSync(this.#fd);
    fs.renameSync(this.#partial, this.#final);
  }

  /** Leaves what is written to be gone on with. */
  async leave(): Promise<void> {
    await this.#writing;
    fs.closeSync(this.#fd);
  }
}

function setAttributes(fd: number, { mode, mtimeNs }: WantedFile): void {
  if (mode !== undefined) fs.fchmodSync(fd, mode & PERMISSION_BITS);
  if (mtimeNs === undefined) return;
  // As text, since of a negative number the runtime makes the present.
  const seconds = String(Number(mtimeNs) / NS_PER_SECOND);
  fs.futimesSync(fd, seconds, seconds);
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

/** Where one file goes: into `local` if that is a folder or ends in `/`, else it becomes `local`. */
export function fileTarget(local: string, path: string): { root: string; relative: string } {
  const isFolder = local.endsWith("/") || fs.statSync(local, { throwIfNoEntry: false })?.isDirectory() === true;
  return isFolder ? { root: local, relative: basename(path) } : { root: dirname(local), relative: basename(local) };
}
