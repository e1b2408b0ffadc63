/** Where a download puts its entries: below one folder, and nowhere else, through links that are found there neither. */
import fs from "node:fs";
import { basename, dirname, join, sep } from "node:path";
import { crc32c } from "../lib/crc32c.ts";
import { pathProblem } from "../lib/paths.ts";
import { ArtifactsDownloadError, naming } from "./errors.ts";
import { isLinkInside } from "./links.ts";
import { partialPath, refuseFolder } from "./partial-file.ts";

const OWNER_RWX = 0o700;
const PERMISSION_BITS = 0o777;
/** Setuid, setgid and sticky: a folder has them from whoever made it, or inherits them, and keeps them. */
const SPECIAL_BITS = 0o7000;

export class LocalTree {
  /** The folder that nothing is written outside of. */
  readonly #root: string;
  /** What the paths in it begin with. */
  readonly #inside: string;
  /** Folders that are known to be folders. */
  readonly #checked = new Set<string>();
  /** Modes that folders get in the end, by their paths. */
  readonly #modes = new Map<string, number>();

  /** Makes the root and what is above it, if need be. */
  constructor(root: string) {
    this.#root = root;
    this.#inside = join(root, sep);
    const stats = fs.statSync(root, { throwIfNoEntry: false });
    if (stats && !stats.isDirectory()) throw new ArtifactsDownloadError(`${root} is not a folder`);
    if (!stats) fs.mkdirSync(root, { recursive: true });
  }

  /** Where an entry goes, its folders made. */
  place(relative: string): string {
    const problem = pathProblem(relative);
    if (problem !== undefined) throw new ArtifactsDownloadError(`path ${JSON.stringify(relative)} ${problem}: nothing is written for it`);
    const parent = dirname(relative);
    if (parent !== ".") this.#makeFolder(parent);
    return this.#inside + relative;
  }

  /** Where an entry would be, if the folders to it are there and are no links. */
  find(relative: string): string | undefined {
    const segments = relative.split("/").slice(0, -1);
    let folder = this.#root;
    for (const segment of segments) {
      folder = join(folder, segment);
      if (!isFolder(folder)) return undefined;
    }
    return this.#inside + relative;
  }

  /** Makes a folder; its mode is set in the end, when its contents are there. */
  addFolder(relative: string, mode: number | undefined): void {
    const path = this.place(relative);
    this.#makeFolder(relative);
    if (mode !== undefined) this.#modes.set(path, mode & PERMISSION_BITS);
  }

  addLink(relative: string, target: string): void {
    if (!isLinkInside(relative.split("/").length - 1, target))
      throw new ArtifactsDownloadError(
        `${relative} is a link to ${target}, outside of what is downloaded: download a folder that holds both`,
      );
    const final = this.place(relative);
    refuseFolder(final);
    const partial = partialPath(final, { path: relative, size: 0, crc32c: crc32c(Buffer.from(target)) });
    // Others may be at the same: whoever has the partial link taken away begins anew, and finds the link there.
    const give = () => {
      while (!isLinkTo(final, target)) {
        fs.rmSync(partial, { force: true });
        if (unless("EEXIST", () => fs.symlinkSync(target, partial))) unless("ENOENT", () => fs.renameSync(partial, final));
      }
    };
    naming(final, () => this.inFolder(final, give));
  }

  /** Sets the folders' modes, the deepest first. */
  finish(): void {
    for (const [path, mode] of [...this.#modes].sort(([a], [b]) => b.length - a.length)) {
      // Not of what somebody else put there since, such as a link.
      if (isFolder(path)) fs.chmodSync(path, (fs.lstatSync(path).mode & SPECIAL_BITS) | mode);
    }
  }

  /** The same for a download that failed, whose error goes before those here. */
  giveUp(): void {
    try {
      this.finish();
    } catch {}
  }

  #makeFolder(relative: string): void {
    if (this.#checked.has(relative)) return;
    const parent = dirname(relative);
    if (parent !== ".") this.#makeFolder(parent);
    const path = this.#inside + relative;
    unless("EEXIST", () => fs.mkdirSync(path));
    const stats = fs.lstatSync(path);
    if (stats.isSymbolicLink()) throw new ArtifactsDownloadError(`${path} is a link: nothing is written through links`);
    if (!stats.isDirectory()) throw new ArtifactsDownloadError(`${path} is not a folder, but the run has one there`);
    this.#checked.add(relative);
    this.#makeWritable(path, stats);
  }

  // Its mode may be one that an earlier download gave it.
  #makeWritable(path: string, { mode }: fs.Stats): boolean {
    if ((mode & OWNER_RWX) === OWNER_RWX) return false;
    if (!this.#modes.has(path)) this.#modes.set(path, mode & PERMISSION_BITS);
    fs.chmodSync(path, (mode & (SPECIAL_BITS | PERMISSION_BITS)) | OWNER_RWX);
    return true;
  }

  /** Does something with a place of this tree, again if another download has ended and given the folder a mode that forbids it. */
  inFolder<T>(place: string, act: () => T): T {
    try {
      return act();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EACCES") throw error;
      const folder = dirname(place);
      if (!folder.startsWith(this.#inside) || !this.#makeWritable(folder, fs.lstatSync(folder))) throw error;
      return act();
    }
  }
}

function isFolder(path: string): boolean {
  try {
    return fs.lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
  } catch {
    return false;
  }
}

function isLinkTo(path: string, target: string): boolean {
  try {
    return fs.readlinkSync(path) === target;
  } catch {
    return false;
  }
}

/** Whether it is done; not if it fails with `code`. */
function unless(code: string, step: () => void): boolean {
  try {
    step();
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === code) return false;
    throw error;
  }
}

/** Where one file goes: into `local` if that is a folder or ends in `/`, else it becomes `local`. */
export function fileTarget(local: string, path: string): { root: string; relative: string } {
  const isFolder = local.endsWith("/") || fs.statSync(local, { throwIfNoEntry: false })?.isDirectory() === true;
  return isFolder ? { root: local, relative: basename(path) } : { root: dirname(local), relative: basename(local) };
}
