/** Trees of files as data: made, read back and compared. The form of entries is that of `test/vectors/README.md`. */
import { strict as assert } from "node:assert";
import { execFileSync } from "node:child_process";
import { hash } from "node:crypto";
import fs from "node:fs";
import { dirname, join, normalize } from "node:path";
import { partialName } from "../../src/client/partial-file.ts";
import { crc32c } from "../../src/lib/crc32c.ts";

export interface TreeEntry {
  readonly path?: string;
  /** Of a name that is no UTF-8. */
  readonly path_hex?: string;
  readonly text?: string;
  readonly size?: number;
  readonly seed?: number;
  readonly link?: string;
  readonly fifo?: boolean;
  readonly mode?: string;
  readonly mtime_ns?: string;
  readonly partial_in?: string;
  readonly length?: number;
  readonly bytes_of_seed?: number;
}

/** What the runtime's double of seconds can lose of a time. */
export const TIME_TOLERANCE_NS = 1_000n;

/** What was made last, as most of it is made again to be compared. */
const made = new Map<string, Buffer>();
const KEPT = 16;

/** Bytes that look random and are the same in every language. Not to be written to. */
export function bytesOf(seed: number, size: number): Buffer {
  const key = `${seed}:${size}`;
  const bytes = made.get(key) ?? makeBytes(seed, size);
  if (made.size >= KEPT) made.clear();
  made.set(key, bytes);
  return bytes;
}

function makeBytes(seed: number, size: number): Buffer {
  const bytes = Buffer.allocUnsafe(size);
  for (let at = 0, n = 0; at < size; n++) at += hash("sha256", `${seed}:${n}`, "buffer").copy(bytes, at);
  return bytes;
}

export function makeTree(root: string, entries: readonly TreeEntry[]): void {
  for (const entry of entries) makeEntry(root, entry);
  // Behind the contents of folders, the deepest first, as those change the times and need the modes.
  for (const { path = "", mode, mtime_ns } of entries.toReversed()) {
    const local = join(root, path);
    if (mode !== undefined) fs.chmodSync(local, Number.parseInt(mode, 8));
    if (mtime_ns !== undefined) setTime(local, BigInt(mtime_ns));
  }
}

function makeEntry(root: string, entry: TreeEntry): void {
  const { path = "", text, size = 0, seed = 0 } = entry;
  if (entry.path_hex !== undefined) {
    const local = Buffer.concat([Buffer.from(`${root}/`), Buffer.from(entry.path_hex, "hex")]);
    fs.mkdirSync(local.subarray(0, local.lastIndexOf("/")), { recursive: true });
    fs.writeFileSync(local, text ?? "");
    return;
  }
  if (entry.partial_in !== undefined) {
    const name = partialName({ path, size, crc32c: crc32c(bytesOf(seed, size)) });
    fs.mkdirSync(join(root, entry.partial_in), { recursive: true });
    fs.writeFileSync(join(root, entry.partial_in, name), bytesOf(entry.bytes_of_seed ?? seed, entry.length ?? 0));
    return;
  }
  const local = join(root, path);
  if (path.endsWith("/")) {
    fs.mkdirSync(local, { recursive: true });
    return;
  }
  fs.mkdirSync(dirname(local), { recursive: true });
  if (entry.link === undefined && !entry.fifo) {
    fs.writeFileSync(local, text ?? bytesOf(seed, size));
    return;
  }
  fs.rmSync(local, { force: true });
  if (entry.fifo) execFileSync("mkfifo", [local]);
  else fs.symlinkSync(entry.link as string, local);
}

// The runtime's own calls take a double of seconds.
function setTime(local: string, ns: bigint): void {
  const digits = String(ns < 0n ? -ns : ns).padStart(10, "0");
  execFileSync("touch", ["--no-create", `--date=@${ns < 0n ? "-" : ""}${digits.slice(0, -9)}.${digits.slice(-9)}`, local]);
}

/** Fails unless exactly these entries are below `root`, beside the folders that lead to them. */
export function checkTree(root: string, entries: readonly TreeEntry[], timeToleranceNs = TIME_TOLERANCE_NS): void {
  const found = new Set(pathsBelow(root));
  const expected = new Set<string>();
  for (const entry of entries) {
    const path = normalize((entry.path ?? "").replace(/\/$/, ""));
    for (let at = path.indexOf("/"); at !== -1; at = path.indexOf("/", at + 1)) expected.add(path.slice(0, at));
    expected.add(path);
    assert.ok(found.has(path), `${join(root, path)} is not there`);
    checkEntry(join(root, path), entry, timeToleranceNs);
  }
  const unexpected = [...found].filter((path) => !expected.has(path));
  assert.deepEqual(unexpected, [], `more is below ${root} than there should be`);
}

function checkEntry(local: string, entry: TreeEntry, toleranceNs: bigint): void {
  const stats = fs.lstatSync(local, { bigint: true });
  if (entry.link !== undefined) {
    assert.ok(stats.isSymbolicLink(), `${local} is not a link`);
    assert.equal(fs.readlinkSync(local), entry.link, `target of ${local}`);
    return;
  }
  if (entry.path?.endsWith("/")) {
    assert.ok(stats.isDirectory(), `${local} is not a folder`);
  } else {
    assert.ok(stats.isFile(), `${local} is not a file`);
    const expected = entry.text === undefined ? bytesOf(entry.seed ?? 0, entry.size ?? 0) : Buffer.from(entry.text);
    assert.ok(fs.readFileSync(local).equals(expected), `${local} has other bytes than it should`);
  }
  if (entry.mode !== undefined) assert.equal((stats.mode & 0o7777n).toString(8), entry.mode, `mode of ${local}`);
  if (entry.mtime_ns === undefined) return;
  const off = stats.mtimeNs - BigInt(entry.mtime_ns);
  assert.ok(off <= toleranceNs && -off <= toleranceNs, `${local} is of ${stats.mtimeNs} ns, not of ${entry.mtime_ns} ns`);
}

function pathsBelow(root: string, folder = ""): string[] {
  return fs.readdirSync(join(root, folder), { withFileTypes: true }).flatMap((each) => {
    const path = join(folder, each.name);
    return each.isDirectory() ? [path, ...pathsBelow(root, path)] : [path];
  });
}
