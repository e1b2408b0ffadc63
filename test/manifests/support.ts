/** Objects in memory, entries to fill manifests with, and the model that views are held to. */

import { randomUUID } from "node:crypto";
import fc from "fast-check";
import type { Manifest } from "../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import {
  createManifestWriter,
  type ObjectReader,
  type ObjectWriter,
  type StoredEntry,
  type View,
} from "../../src/artifacts/manifests/index.ts";
import type { Entry } from "../../src/artifacts/types.ts";
import { crc32c } from "../../src/lib/crc32c.ts";
import { comparePaths, isWithin } from "../../src/lib/paths.ts";

export interface Objects extends ObjectReader, ObjectWriter {
  /** Stretches that were read. */
  reads: number;
  puts: number;
  readonly objects: ReadonlyMap<string, Uint8Array>;
}

export function memoryObjects(): Objects {
  const objects = new Map<string, Uint8Array>();
  // Keys are never used twice, as in a store.
  const id = randomUUID();
  return {
    reads: 0,
    puts: 0,
    objects,
    async put(parts) {
      this.puts++;
      const key = `data/${id}/0/manifest-${objects.size}`;
      objects.set(key, Buffer.concat(parts));
      return key;
    },
    async read({ key, offset, length, crc32c: expected }) {
      this.reads++;
      const bytes = objects.get(key)?.subarray(Number(offset), Number(offset + length));
      if (bytes?.length !== Number(length) || crc32c(bytes) !== expected) throw new Error(`${key} is damaged at ${offset}`);
      return bytes;
    },
  };
}

/** So small that a few entries make many blocks and objects. */
export const TINY = { inlineBytes: 300, blockBytes: 120, objectBytes: 400 };

export function fileEntry(path: string, size = 100, object = "data/some-upload-of-files/0/1"): StoredEntry {
  const extents = size > 0 ? [{ object, offset: 7, length: size, crc32c: [size * 3] }] : [];
  return { path, type: "file", size, mode: 0o640, mtimeNs: 1_700_000_000_000_000_001n, crc32c: size, extents };
}

export function folderEntry(path: string, mode = 0o755): StoredEntry {
  return { path, type: "folder", mode, mtimeNs: 5n, extents: [] };
}

export async function manifestOf(entries: Iterable<StoredEntry>, objects: Objects, options = {}): Promise<Manifest> {
  const writer = createManifestWriter(objects, objects, options);
  for (const entry of entries) await writer.add(entry);
  return writer.finish();
}

// Few names, so that paths meet, and some that sort differently by bytes, by UTF-16 units and as parts of a path.
const SEGMENTS = ["a", "b", "a-", "a.b", "a0", "\u{1f600}", "\uffee"];

export const anyPath = fc.array(fc.constantFrom(...SEGMENTS), { minLength: 1, maxLength: 4 }).map((segments) => segments.join("/"));

const anyEntry: fc.Arbitrary<StoredEntry> = fc
  .record({ path: anyPath, kind: fc.constantFrom("file", "file", "folder", "link"), size: fc.nat(9), n: fc.nat(3) })
  .map(({ path, kind, size, n }) => {
    if (kind === "file") return fileEntry(path, size, `data/upload-${n}/0/${n}`);
    if (kind === "folder") return folderEntry(path, size);
    return { path, type: "link", linkTarget: `t${n}`, mtimeNs: BigInt(size), extents: [] };
  });

/** Entries that one upload can have, in any order. */
export const anyCommit: fc.Arbitrary<readonly StoredEntry[]> = fc.array(anyEntry, { minLength: 1, maxLength: 25 }).map((entries) => {
  const kept: StoredEntry[] = [];
  for (const entry of entries) if (!kept.some((other) => conflict(entry, other) || conflict(other, entry))) kept.push(entry);
  return kept;
});

function conflict(a: StoredEntry, b: StoredEntry): boolean {
  return a.path === b.path || (a.type !== "folder" && isWithin(b.path, a.path));
}

/** What is seen after commits, oldest first, by the rules of the storage format. */
export function modelOf(commits: readonly (readonly StoredEntry[])[]): StoredEntry[] {
  let seen: StoredEntry[] = [];
  for (const commit of commits) {
    for (const entry of commit) {
      seen = seen.filter((older) => {
        if (older.path === entry.path) return false;
        if (older.type !== "folder" && isWithin(entry.path, older.path)) return false;
        return entry.type === "folder" || !isWithin(older.path, entry.path);
      });
      seen.push(entry);
    }
  }
  return seen.sort((a, b) => comparePaths(a.path, b.path));
}

export function modelChildren(seen: readonly StoredEntry[], folder: string): Entry[] {
  const children = new Map<string, Entry>();
  for (const entry of seen) {
    if (entry.path === folder || !isWithin(entry.path, folder)) continue;
    const slash = entry.path.indexOf("/", folder === "" ? 0 : folder.length + 1);
    const path = slash < 0 ? entry.path : entry.path.slice(0, slash);
    const { extents: _, ...own } = entry;
    if (path === entry.path) children.set(path, own);
    else if (!children.has(path)) children.set(path, { path, type: "folder" });
  }
  return [...children.values()];
}

export function totalsOf(entries: readonly StoredEntry[]): { files: number; bytes: number } {
  const counted = entries.filter((entry) => entry.type !== "folder");
  return { files: counted.length, bytes: counted.reduce((sum, { size = 0 }) => sum + size, 0) };
}

export async function collect<T>(batches: AsyncIterable<readonly T[]>): Promise<T[]> {
  const all: T[] = [];
  for await (const batch of batches) all.push(...batch);
  return all;
}

export async function pathsOf(view: View): Promise<string[]> {
  return (await collect(view.entries({}))).map((entry) => entry.path);
}
