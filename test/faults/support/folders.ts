/** Folders for a test, removed after it; trees of files with contents that differ. */
import { createHash } from "node:crypto";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const made: string[] = [];

/** In memory where there is such a thing: for folders whose durability is not the disk's matter. */
export const FAST = fs.existsSync("/dev/shm") ? "/dev/shm" : tmpdir();

export function newFolder(under = tmpdir()): string {
  const folder = fs.mkdtempSync(join(under, "dstack-faults-"));
  made.push(folder);
  return folder;
}

export function removeFolders(): void {
  for (const folder of made.splice(0)) fs.rmSync(folder, { recursive: true, force: true });
}

/** Bytes that look random and are the same for the same seed. */
export function bytesFrom(seed: string, length: number): Buffer {
  const blocks: Buffer[] = [];
  for (let i = 0, total = 0; total < length; i++) {
    const block = createHash("sha512").update(`${seed}:${i}`).digest();
    blocks.push(block);
    total += block.length;
  }
  return Buffer.concat(blocks).subarray(0, length);
}

export type Tree = Readonly<Record<string, Buffer>>;

export function writeTree(folder: string, tree: Tree): void {
  for (const [path, bytes] of Object.entries(tree)) {
    fs.mkdirSync(dirname(join(folder, path)), { recursive: true });
    fs.writeFileSync(join(folder, path), bytes);
  }
}
