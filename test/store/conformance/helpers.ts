/** What the cases share. */
import assert from "node:assert/strict";
import { crc32cOfParts } from "../../../src/lib/crc32c.ts";
import type { Driver, ObjectInfo, StoreErrorKind } from "../../../src/store/driver.ts";
import { StoreError } from "../../../src/store/driver.ts";

export const KIB = 1024;
export const MIB = 1024 * KIB;
/** The largest object that is ever put: a data object of 16 MiB and its footer. */
export const LARGEST = 16 * MIB + 300 * KIB;
/** The most keys of one page. */
export const MAX_PAGE = 1000;

/** Bytes that differ from place to place and from seed to seed. */
export function testBytes(size: number, seed = 1): Uint8Array {
  const words = new Uint32Array(Math.ceil(size / 4));
  let state = (seed * 2_654_435_761) >>> 0 || 1;
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
  return new Uint8Array(words.buffer, 0, size);
}

/** Puts parts with their true checksum. */
export function put(driver: Driver, key: string, ...body: Uint8Array[]): Promise<boolean> {
  return driver.putIfAbsent(key, body, { crc32c: crc32cOfParts(body) });
}

/** That a call fails as a driver's calls must. */
export async function rejectsWith(kind: StoreErrorKind, call: Promise<unknown>): Promise<StoreError> {
  let caught: unknown;
  await assert.rejects(call, (error: unknown) => {
    caught = error;
    return true;
  });
  assert.ok(caught instanceof StoreError, `not a StoreError: ${caught}`);
  assert.equal(caught.kind, kind, caught.message);
  assert.match(caught.message, /^[^\n]+$/, "the message is one line");
  return caught;
}

export function assertSame(actual: Uint8Array, expected: Uint8Array): void {
  assert.equal(actual.length, expected.length);
  // Not deepEqual, which takes minutes to describe how megabytes differ.
  assert.ok(Buffer.compare(actual, expected) === 0, "the bytes differ");
}

export const keysOf = (objects: readonly ObjectInfo[]): string[] => objects.map((object) => object.key);

/** Keys of a whole listing, page by page. */
export async function allKeys(driver: Driver, prefix: string, limit?: number): Promise<string[]> {
  const keys: string[] = [];
  let startAfter: string | undefined;
  for (;;) {
    const page = await driver.list(prefix, { startAfter, limit });
    keys.push(...keysOf(page.objects));
    if (!page.more) return keys;
    startAfter = keys.at(-1);
  }
}
