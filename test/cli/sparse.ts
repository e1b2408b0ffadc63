import fs from "node:fs";

/** A file of so many zeros, which takes no space and no time to make. */
export function makeSparseFile(path: string, size: number): void {
  fs.writeFileSync(path, "");
  fs.truncateSync(path, size);
}
