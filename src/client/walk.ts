/** Walks what is to be uploaded, in the order of artifact paths: folders right before what is in them. */
import { isUtf8 } from "node:buffer";
import fs from "node:fs";
import { join } from "node:path";
import { comparePaths, pathProblem } from "../lib/paths.ts";
import { ArtifactsUploadError } from "./errors.ts";
import { isLinkInside } from "./links.ts";

export interface LocalEntry {
  /** Where it goes in the run. */
  readonly path: string;
  /** Where it is. */
  readonly local: string;
  readonly type: "file" | "folder" | "link";
  readonly size: number;
  /** Permission bits. */
  readonly mode: number;
  readonly mtimeNs: bigint;
  /** Of a link that is kept as one. */
  readonly linkTarget?: string;
}

export interface WalkOptions {
  /** `follow` uploads what a link points to, `preserve` the link itself. */
  readonly symlinks: "follow" | "preserve";
  /** Told of sockets, FIFOs and devices, which are left out. */
  onSkipped(local: string): void;
}

const PERMISSION_BITS = 0o777n;

/** `local` is a file or folder that exists. Calls are synchronous: for many small files that takes a quarter of the time. */
export function* walk(local: string, path: string, options: WalkOptions): Generator<LocalEntry, void, undefined> {
  const stats = fs.statSync(local, { bigint: true });
  if (stats.isDirectory()) {
    if (path !== "") yield entryOf(local, path, "folder", stats);
    yield* walkFolder(local, path, { options, root: local, depth: 0, above: [idOf(stats)] });
  } else if (stats.isFile()) {
    yield entryOf(local, path, "file", stats);
  } else {
    throw new ArtifactsUploadError(`${local} is neither a file nor a folder`);
  }
}

interface Place {
  readonly options: WalkOptions;
  readonly root: string;
  /** Folders between the root and here. */
  readonly depth: number;
  /** The folders that one is in, by device and inode, to find loops. */
  readonly above: readonly string[];
}

function* walkFolder(folder: string, path: string, place: Place): Generator<LocalEntry, void, undefined> {
  const { options } = place;
  for (const name of fs.readdirSync(folder).sort(comparePaths)) {
    const local = join(folder, name);
    const entryPath = path === "" ? name : `${path}/${name}`;
    let stats = lstat(local, name);
    if (stats.isSymbolicLink()) {
      if (options.symlinks === "preserve") {
        checkPath(entryPath, local);
        yield { ...entryOf(local, entryPath, "link", stats), linkTarget: readLink(local, place) };
        continue;
      }
      stats = follow(local);
    }
    if (stats.isDirectory()) {
      checkPath(entryPath, local);
      const id = idOf(stats);
      if (place.above.includes(id)) throw new ArtifactsUploadError(`${local} is a link to a folder that it is in: a loop`);
      yield entryOf(local, entryPath, "folder", stats);
      yield* walkFolder(local, entryPath, { ...place, depth: place.depth + 1, above: [...place.above, id] });
    } else if (stats.isFile()) {
      checkPath(entryPath, local);
      yield entryOf(local, entryPath, "file", stats);
    } else {
      options.onSkipped(local);
    }
  }
}

function entryOf(local: string, path: string, type: LocalEntry["type"], stats: fs.BigIntStats): LocalEntry {
  return {
    path,
    local,
    type,
    size: type === "file" ? Number(stats.size) : 0,
    mode: Number(stats.mode & PERMISSION_BITS),
    mtimeNs: stats.mtimeNs,
  };
}

function checkPath(path: string, local: string): void {
  const problem = pathProblem(path);
  if (problem !== undefined) throw new ArtifactsUploadError(`${JSON.stringify(local)} can't be uploaded: its path in the run ${problem}`);
}

function lstat(local: string, name: string): fs.BigIntStats {
  try {
    return fs.lstatSync(local, { bigint: true });
  } catch (error) {
    // The runtime puts U+FFFD where a name's bytes are no UTF-8.
    if (name.includes("\ufffd")) throw new ArtifactsUploadError(`${JSON.stringify(local)} can't be uploaded: its name is not valid UTF-8`);
    throw error;
  }
}

function follow(local: string): fs.BigIntStats {
  try {
    return fs.statSync(local, { bigint: true });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ELOOP") throw new ArtifactsUploadError(`${local} is a link that leads back to itself: a loop`, { cause: error });
    if (code === "ENOENT")
      throw new ArtifactsUploadError(`${local} is a link to ${fs.readlinkSync(local)}, which does not exist`, { cause: error });
    throw error;
  }
}

function readLink(local: string, { depth }: Place): string {
  const bytes = fs.readlinkSync(local, { encoding: "buffer" });
  if (!isUtf8(bytes)) throw new ArtifactsUploadError(`${JSON.stringify(local)} can't be uploaded: its target is not valid UTF-8`);
  const target = bytes.toString();
  if (isLinkInside(depth, target)) return target;
  throw new ArtifactsUploadError(
    `${local} is a link to ${target}, outside of what is uploaded: only links that stay inside can be preserved`,
  );
}

function idOf(stats: fs.BigIntStats): string {
  return `${stats.dev}:${stats.ino}`;
}
