/** What tells two trees of files apart: paths, kinds, bytes, permission bits, the times of files. */
import { createHash } from "node:crypto";
import { closeSync, lstatSync, openSync, readdirSync, readlinkSync, readSync, statSync } from "node:fs";
import { join } from "node:path";

export interface TreeEntry {
  readonly type: "file" | "folder" | "link";
  /** Permission bits, octal; of links none. */
  readonly mode: string;
  /** Modification time of a file in nanoseconds. */
  readonly mtimeNs: bigint | undefined;
  /** SHA-256 of a file's bytes; a link's target. */
  readonly content: string;
}

const READ_BYTES = 1024 * 1024;
/** Node sets times from a double of seconds, which at our dates is good to well under this. */
const TIME_TOLERANCE_NS = 1_000n;

/** All that is below a folder, by path; links as links, unless they are to be followed. */
export function readTree(root: string, { followLinks = false, below = "" } = {}): Map<string, TreeEntry> {
  const entries = new Map<string, TreeEntry>();
  for (const name of readdirSync(join(root, below)).sort()) {
    const path = below === "" ? name : `${below}/${name}`;
    const local = join(root, path);
    const stats = (followLinks ? statSync : lstatSync)(local, { bigint: true });
    const mode = (stats.mode & 0o7777n).toString(8);
    if (stats.isDirectory()) {
      entries.set(path, { type: "folder", mode, mtimeNs: undefined, content: "" });
      for (const [each, entry] of readTree(root, { followLinks, below: path })) entries.set(each, entry);
    } else if (stats.isSymbolicLink()) {
      entries.set(path, { type: "link", mode: "", mtimeNs: undefined, content: readlinkSync(local) });
    } else {
      entries.set(path, { type: "file", mode, mtimeNs: stats.mtimeNs, content: digest(local) });
    }
  }
  return entries;
}

/** A sentence for each difference, none for trees that are alike. */
export function compareTrees(expected: ReadonlyMap<string, TreeEntry>, actual: ReadonlyMap<string, TreeEntry>): string[] {
  const differences: string[] = [];
  for (const [path, entry] of expected) {
    const other = actual.get(path);
    if (other === undefined) differences.push(`${path} is missing`);
    else if (other.type !== entry.type) differences.push(`${path} is a ${other.type}, not a ${entry.type}`);
    else if (other.content !== entry.content) differences.push(`${path} has another content`);
    else if (other.mode !== entry.mode) differences.push(`${path} has mode ${other.mode}, not ${entry.mode}`);
    else if (!isSameTime(other.mtimeNs, entry.mtimeNs)) differences.push(`${path} has time ${other.mtimeNs}, not ${entry.mtimeNs}`);
  }
  for (const path of actual.keys()) if (!expected.has(path)) differences.push(`${path} is one too many`);
  return differences;
}

function isSameTime(a: bigint | undefined, b: bigint | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a - b <= TIME_TOLERANCE_NS && b - a <= TIME_TOLERANCE_NS;
}

function digest(path: string): string {
  const hash = createHash("sha256");
  const buffer = Buffer.allocUnsafe(READ_BYTES);
  const fd = openSync(path, "r");
  try {
    for (let read: number; (read = readSync(fd, buffer)) > 0; ) hash.update(buffer.subarray(0, read));
    return hash.digest("hex");
  } finally {
    closeSync(fd);
  }
}
