/** The rules for artifact paths: one implementation for server and client; `test/vectors/paths.json` holds its cases for every language. */

/** Bytes of UTF-8 in a path. */
export const MAX_PATH_BYTES = 1024;
/** Bytes of UTF-8 in one segment: what file systems take. */
export const MAX_SEGMENT_BYTES = 255;

const SLASH = 0x2f;

/** A path without its one leading and its one trailing `/`. `""`, `.` and `/` are the root, `""`. */
export function trimPath(path: string): string {
  if (path === "." || path === "/") return "";
  const start = path.startsWith("/") ? 1 : 0;
  const end = path.length > start && path.endsWith("/") ? path.length - 1 : path.length;
  return path.slice(start, end);
}

/** What is wrong with a trimmed path that isn't the root, for a sentence after it; `undefined` if nothing. */
export function pathProblem(path: string): string | undefined {
  if (path === "") return "is the root, as which one file can't be stored";
  if (!path.isWellFormed()) return "is not valid Unicode";
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) return `is longer than ${MAX_PATH_BYTES} bytes`;
  for (let i = 0; i < path.length; i++) {
    const code = path.charCodeAt(i);
    if (code < 0x20 || (code >= 0x7f && code <= 0x9f)) return "has a control character";
    if (code === 0x5c) return "has a backslash";
  }
  for (const segment of path.split("/")) {
    if (segment === "") return "has an empty segment";
    if (segment === "." || segment === "..") return `has a \`${segment}\` segment`;
    if (Buffer.byteLength(segment) > MAX_SEGMENT_BYTES) return `has a segment longer than ${MAX_SEGMENT_BYTES} bytes`;
  }
  return undefined;
}

/**
 * The order of paths: segment by segment, each in the order of its UTF-8 bytes, so that a folder comes right before what is in it.
 * Gives a number below, at or above 0.
 */
export function comparePaths(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return rank(x) - rank(y);
  }
  return a.length - b.length;
}

// UTF-16 puts surrogates (characters past U+FFFF) before U+E000 to U+FFFF, UTF-8 behind them; `/` comes before all.
function rank(code: number): number {
  if (code === SLASH) return -1;
  if (code < 0xd800) return code;
  return code < 0xe000 ? code + 0x2000 : code - 0x800;
}

/** Whether `path` is `folder` or lies in it; everything lies in the root. */
export function isWithin(path: string, folder: string): boolean {
  return (
    folder === "" || path === folder || (path.length > folder.length && path.charCodeAt(folder.length) === SLASH && path.startsWith(folder))
  );
}
