/** Pages of lists that are sorted by a key; a page's token is the last key of the one before. */
import { ArtifactsFailure } from "./errors.ts";
import type { PageRequest } from "./types.ts";

interface PageRules {
  readonly defaultSize: number;
  readonly maxSize: number;
  /** The order of the keys; that of strings, if it isn't given. */
  compare?(a: string, b: string): number;
}

export function pageOf<T>(
  sorted: readonly T[],
  keyOf: (item: T) => string,
  request: PageRequest,
  rules: PageRules,
): { items: T[]; nextPageToken: string } {
  const size = pageSize(request, rules);
  const after = decodeToken(request.pageToken);
  const compare = rules.compare ?? ((a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0));
  const first = after === undefined ? 0 : firstIndex(sorted, (item) => compare(keyOf(item), after) > 0);
  const items = sorted.slice(first, first + size);
  const last = items.at(-1);
  return { items, nextPageToken: last !== undefined && first + size < sorted.length ? encodeToken(keyOf(last)) : "" };
}

/** The index of the first item for which it is true, as it is for all behind that. */
function firstIndex<T>(sorted: readonly T[], isTrue: (item: T) => boolean): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isTrue(sorted[middle] as T)) high = middle;
    else low = middle + 1;
  }
  return low;
}

export function pageSize(request: PageRequest, rules: { defaultSize: number; maxSize: number }): number {
  return request.pageSize ? Math.min(request.pageSize, rules.maxSize) : rules.defaultSize;
}

export function encodeToken(text: string): string {
  return Buffer.from(text, "utf8").toString("base64url");
}

/** `undefined` for the first page. */
export function decodeToken(token: string | undefined): string | undefined {
  if (!token) return undefined;
  const text = Buffer.from(token, "base64url").toString("utf8");
  if (encodeToken(text) !== token) throw invalidToken();
  return text;
}

export function invalidToken(): ArtifactsFailure {
  return new ArtifactsFailure("PAGE_TOKEN_INVALID", "the page token is not one that this call gave: begin with the first page");
}
