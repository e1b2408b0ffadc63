/** The folders that are transferred, and what is asked of contenders with them. */
import { randomFillSync } from "node:crypto";
import { closeSync, mkdirSync, openSync, writeSync } from "node:fs";
import { rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import type { NamedTask } from "./measure.ts";

const WRITE_BYTES = 1024 * 1024;
const FILES_IN_FOLDER = 100;
/** What Linux calls the kind of file system that is in memory. */
const TMPFS = 0x01021994;

/** Transfers a tree: up from `source`, or down what was last sent up of it. */
export interface TreeTask extends NamedTask {
  readonly source: string;
}

export interface TreeSize {
  readonly files: number;
  /** Of each file. */
  readonly bytes: number;
}

/** Makes a tree below `folder` and gives the two tasks with it. */
export function treeTasks(folder: string, { files, bytes }: TreeSize): TreeTask[] {
  const source = join(folder, `tree-${files}x${bytes}`);
  makeTree(source, files, bytes);
  const what = files === 1 ? `1 file of ${inUnits(bytes)}` : `${files} files of ${inUnits(bytes)}`;
  const task = { files, bytes, chunkBytes: WRITE_BYTES, source };
  return [
    { ...task, name: `up, ${what}`, direction: "up" },
    { ...task, name: `down, ${what}`, direction: "down" },
  ];
}

function makeTree(source: string, files: number, bytes: number): void {
  const content = randomFillSync(Buffer.alloc(Math.min(bytes, WRITE_BYTES)));
  for (let i = 0; i < files; i++) {
    const folder = join(source, `folder-${Math.floor(i / FILES_IN_FOLDER)}`);
    mkdirSync(folder, { recursive: true });
    const fd = openSync(join(folder, `file-${i}.bin`), "w");
    content.writeUInt32LE(i);
    for (let left = bytes; left > 0; left -= content.length) writeSync(fd, content, 0, Math.min(left, content.length));
    closeSync(fd);
  }
}

function inUnits(bytes: number): string {
  if (bytes % 2 ** 30 === 0) return `${bytes / 2 ** 30} GiB`;
  return bytes % 2 ** 20 === 0 ? `${bytes / 2 ** 20} MiB` : `${bytes / 1024} KiB`;
}

/**
 * Makes room after a transfer. On a disk a tree of many files stays until the benchmark ends: ext4 looks at each inode that was deleted in
 * the last minutes before it makes a file, so whoever comes next would pay several times over.
 */
export async function discard(path: string, { files }: { readonly files: number }): Promise<void> {
  if (files === 1 || (await statfs(path)).type === TMPFS) await rm(path, { recursive: true });
}
