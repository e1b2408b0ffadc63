/** Small file systems of a test's own, where the machine lets it mount any. */
import { spawnSync } from "node:child_process";
import { newFolder } from "./folders.ts";

const mounted: string[] = [];

/** What `mount` complains of; empty when it worked. */
function mount(...args: string[]): string {
  const { status, stderr } = spawnSync("mount", args, { encoding: "utf8" });
  return status === 0 ? "" : stderr || `mount ended with ${status}`;
}

/** Whether this process may mount. */
export function canMount(): boolean {
  if (process.getuid?.() !== 0) return false;
  const folder = newFolder();
  const can = mount("-t", "tmpfs", "none", folder) === "";
  if (can) spawnSync("umount", [folder]);
  return can;
}

function must(complaint: string): void {
  if (complaint !== "") throw new Error(`can't mount: ${complaint}`);
}

export interface Mounted {
  readonly path: string;
  /** Changes its options: its size, say, or whether it can be written to. */
  remount(options: string): void;
}

export function mountTmpfs(options: string): Mounted {
  const path = newFolder();
  must(mount("-t", "tmpfs", "-o", options, "none", path));
  mounted.push(path);
  return {
    path,
    remount(changed) {
      must(mount("-o", `remount,${changed}`, path));
    },
  };
}

/** A file of an ext4 file system, mounted. */
export function mountImage(image: string, options: string): string {
  const path = newFolder();
  must(mount("-o", `loop,${options}`, image, path));
  mounted.push(path);
  return path;
}

export function unmount(path: string): void {
  const result = spawnSync("umount", [path], { encoding: "utf8" });
  if (result.status !== 0) throw new Error(`can't unmount ${path}: ${result.stderr}`);
  mounted.splice(mounted.indexOf(path), 1);
}

export function unmountAll(): void {
  for (const path of [...mounted]) unmount(path);
}
