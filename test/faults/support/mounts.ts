/** Small file systems of a test's own, where the machine lets it mount any. */
import { spawnSync } from "node:child_process";
import { newFolder } from "./folders.ts";

const mounted: string[] = [];

function mount(...args: string[]): boolean {
  return spawnSync("mount", args, { stdio: "ignore" }).status === 0;
}

/** Whether this process may mount. */
export function canMount(): boolean {
  if (process.getuid?.() !== 0) return false;
  const folder = newFolder();
  const can = mount("-t", "tmpfs", "none", folder);
  if (can) spawnSync("umount", [folder]);
  return can;
}

export interface Mounted {
  readonly path: string;
  /** Changes its options: its size, say, or whether it can be written to. */
  remount(options: string): void;
}

export function mountTmpfs(options: string): Mounted {
  const path = newFolder();
  if (!mount("-t", "tmpfs", "-o", options, "none", path)) throw new Error(`can't mount a tmpfs with ${options}`);
  mounted.push(path);
  return {
    path,
    remount(changed) {
      if (!mount("-o", `remount,${changed}`, path)) throw new Error(`can't remount with ${changed}`);
    },
  };
}

/** A file of an ext4 file system, mounted. */
export function mountImage(image: string, options: string): string {
  const path = newFolder();
  if (!mount("-o", `loop,${options}`, image, path)) throw new Error(`can't mount ${image}`);
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
