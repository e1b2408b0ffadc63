/**
 * Loaded before all else (`node --import`), plays a file system that keeps the case of names but doesn't tell them apart by it, as macOS's
 * does by default: what is under the folder in `CASE_BLIND` is found by any case.
 */
import fs from "node:fs";
import { join } from "node:path";

type Call = (path: unknown, ...rest: unknown[]) => unknown;

const root = process.env["CASE_BLIND"] as string;
const { readdirSync } = fs;

/** The path by the names that things have on the disk. */
function onDisk(path: unknown): unknown {
  if (typeof path !== "string" || !path.startsWith(`${root}/`)) return path;
  return path
    .slice(root.length + 1)
    .split("/")
    .reduce((at, segment) => join(at, namesIn(at).find((name) => name.toLowerCase() === segment.toLowerCase()) ?? segment), root);
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

const calls = fs as unknown as Record<string, Call>;
for (const name of ["access", "lstat", "mkdir", "open", "readdir", "rmdir", "stat", "unlink"]) {
  const call = calls[name] as Call;
  calls[name] = (path, ...rest) => call(onDisk(path), ...rest);
}
const { link } = calls as { link: Call };
calls["link"] = (from, to, ...rest) => link(onDisk(from), onDisk(to), ...rest);
