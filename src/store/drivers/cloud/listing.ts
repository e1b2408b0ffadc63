import { compareUtf8 } from "../../../lib/utf8-order.ts";
import type { ObjectInfo } from "../../driver.ts";
import { StoreError } from "../../driver.ts";

/** The most that a page of a listing may hold, and what it holds by default. */
export const MAX_PAGE = 1000;

/**
 * The smallest key behind `key`, for stores whose listings start at a key rather than behind it: keys have no control characters.
 * Where a store doesn't take the end of it for what it is, `isAfter` still tells.
 */
export const justAfter = (key: string): string => `${key} `;

export function isAfter(key: string, startAfter: string | undefined): boolean {
  return startAfter === undefined || compareUtf8(key, startAfter) > 0;
}

/** Refuses listings in another order than the keys' bytes: S3's directory buckets and Azure's hierarchical namespaces have such. */
export function checkOrder(name: string, objects: readonly ObjectInfo[]): void {
  for (let i = 1; i < objects.length; i++) {
    if (compareUtf8((objects[i - 1] as ObjectInfo).key, (objects[i] as ObjectInfo).key) >= 0) {
      throw new StoreError("unsupported", `${name}: the store doesn't list keys in the order of their bytes, which the layout needs`);
    }
  }
}
