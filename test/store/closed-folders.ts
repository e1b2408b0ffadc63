/**
 * Loaded before all else (`node --import`), keeps folders of one name from being read, as the system keeps those of others from us. Their
 * mode wouldn't keep out root, which tests may run as.
 */
import fs from "node:fs";
import { basename } from "node:path";

type Readdir = (path: string, options: object, done: (error: Error | null, entries?: fs.Dirent[]) => void) => void;

const calls = fs as unknown as { readdir: Readdir };
const { readdir } = calls;
calls.readdir = (path, options, done) => {
  if (basename(path) === process.env["CLOSED_FOLDERS"]) done(Object.assign(new Error("EACCES: permission denied"), { code: "EACCES" }));
  else readdir(path, options, done);
};
