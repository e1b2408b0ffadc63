/**
 * Keeps objects in this process: for `memory:`, trials and tests. Nothing outlives the process, which is what "durable"
 * means here.
 */
import { crc32c } from "../../lib/crc32c.ts";
import { compareUtf8 } from "../../lib/utf8-order.ts";
import type { ByteParts, Driver, ListOptions, ObjectPage, ObjectRange } from "../driver.ts";
import { StoreError } from "../driver.ts";
import { Calls } from "./calls.ts";
import { checkKey } from "./keys.ts";

/** As a folder's reads, so that downloads go the same way. */
const READ_BYTES = 4 * 1024 * 1024;

interface MemoryObject {
  readonly bytes: Uint8Array;
  readonly crc32c: number;
  readonly lastModified: Date;
}

/** What a memory store holds. Drivers that are opened on the same one are servers on the same store. */
export class MemoryObjects {
  readonly byKey = new Map<string, MemoryObject>();
  /** The keys of `byKey`, in order. */
  readonly keys: string[] = [];
  /** Of all objects together. */
  bytes = 0;

  add(key: string, object: MemoryObject): void {
    this.byKey.set(key, object);
    this.keys.splice(this.indexFrom(key), 0, key);
    this.bytes += object.bytes.length;
  }

  remove(key: string): void {
    const object = this.byKey.get(key);
    if (object === undefined) return;
    this.byKey.delete(key);
    this.keys.splice(this.indexFrom(key), 1);
    this.bytes -= object.bytes.length;
  }

  /** The index of the first key that isn't less than `key`. */
  indexFrom(key: string): number {
    let low = 0;
    let high = this.keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareUtf8(this.keys[middle] as string, key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

export interface MemoryOptions {
  /** What the store holds; a new, empty one by default. */
  readonly objects?: MemoryObjects;
  /** The store's clock, in milliseconds since 1970; the system's by default. */
  readonly now?: () => number;
  /** Bytes that all objects together may have; no limit by default. A put beyond it fails with kind `full`. */
  readonly capacity?: number;
}

/** The most that a page of a listing may hold, and what it holds by default. */
const MAX_PAGE = 1000;

/** Opens a store in memory. `name` is what it is called in errors. */
export function openMemory(name = "memory", options: MemoryOptions = {}): Driver {
  const { objects = new MemoryObjects(), now = Date.now, capacity = Number.POSITIVE_INFINITY } = options;
  const calls = new Calls(name);

  /** Finds an object after a turn of the event loop, as any other store would, so that callers meet the same interleavings. */
  async function find(key: string): Promise<MemoryObject | undefined> {
    await nextTurn();
    return objects.byKey.get(key);
  }

  async function putIfAbsent(key: string, body: ByteParts, declared: number, signal: AbortSignal | undefined): Promise<boolean> {
    checkKey(name, key);
    const bytes = join(body);
    if ((await find(key)) !== undefined) return false;
    signal?.throwIfAborted();
    if (crc32c(bytes) !== declared) throw new StoreError("damaged", `${name}: the body of ${key} isn't what its checksum says`);
    if (objects.bytes + bytes.length > capacity) throw new StoreError("full", `${name}: no space left for ${key}`);
    objects.add(key, { bytes, crc32c: declared, lastModified: new Date(now()) });
    return true;
  }

  async function read(key: string, range: ObjectRange | undefined): Promise<Uint8Array> {
    const object = await find(key);
    if (object === undefined) throw new StoreError("notFound", `${name}: there is no ${key}`);
    if (range === undefined) {
      if (crc32c(object.bytes) !== object.crc32c) throw new StoreError("damaged", `${name}: ${key} isn't what was put`);
      return object.bytes.slice();
    }
    if (range.offset >= object.bytes.length) {
      throw new StoreError("outOfRange", `${name}: ${key} has ${object.bytes.length} bytes, none from ${range.offset}`);
    }
    return object.bytes.slice(range.offset, range.offset + range.length);
  }

  async function list(prefix: string, { startAfter, limit = MAX_PAGE }: ListOptions): Promise<ObjectPage> {
    await nextTurn();
    let index = objects.indexFrom(prefix);
    if (startAfter !== undefined) {
      const after = objects.indexFrom(startAfter);
      index = Math.max(index, objects.keys[after] === startAfter ? after + 1 : after);
    }
    const found = objects.keys.slice(index, index + limit + 1).filter((key) => key.startsWith(prefix));
    const page = found.slice(0, limit).map((key) => {
      const { bytes, lastModified } = objects.byKey.get(key) as MemoryObject;
      return { key, size: bytes.length, lastModified };
    });
    return { objects: page, more: found.length > limit };
  }

  return {
    name,
    readBytes: READ_BYTES,
    putIfAbsent: (key, body, options) => calls.run(options.signal, () => putIfAbsent(key, body, options.crc32c, options.signal)),
    read: (key, range, options) => calls.run(options?.signal, () => read(key, range)),
    list: (prefix, options = {}) => calls.run(options.signal, () => list(prefix, options)),
    delete: (key, options) =>
      calls.run(options?.signal, async () => {
        await nextTurn();
        options?.signal?.throwIfAborted();
        objects.remove(key);
      }),
    close: () => calls.close(),
  };
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** The parts in one new buffer. */
function join(parts: ByteParts): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}
