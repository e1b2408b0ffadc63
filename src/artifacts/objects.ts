/**
 * Objects of the store as this room sees them: whole ones by key, records as messages, checked stretches. What was read is kept for a
 * while, since no object ever changes.
 */
import { type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { crc32c, crc32cOfParts } from "../lib/crc32c.ts";
import { LruCache } from "../lib/lru-cache.ts";
import { type ByteParts, type Driver, type ObjectInfo, StoreError } from "../store/driver.ts";
import { isOurs } from "./keys.ts";

/** Memory for small objects that are kept. */
const CACHE_BYTES = 32 * 1024 * 1024;
/** What the runtime takes for each beside its bytes, which most records have fewer of. */
const CACHED_OBJECT_COST_BYTES = 512;
/** Larger objects are not worth pushing others out. */
const CACHED_OBJECT_BYTES = 1024 * 1024;
/** Keys in one page of a listing: what every store gives at once. */
const LIST_PAGE = 1000;

export interface Stretch {
  readonly key: string;
  readonly offset: number;
  readonly length: number;
  readonly crc32c: number;
}

export interface Objects {
  readonly driver: Driver;
  /** Creates a record; `false` if the key exists. */
  put<D extends DescMessage>(key: string, schema: D, message: MessageShape<D>): Promise<boolean>;
  /** Creates an object; `crc` is its checksum where it is known. */
  putParts(key: string, parts: ByteParts, crc?: number, signal?: AbortSignal): Promise<boolean>;
  /** A record, from the cache where it is there; `undefined` if there is no such object. */
  get<D extends DescMessage>(key: string, schema: D): Promise<MessageShape<D> | undefined>;
  /** The same, asking the store whatever is cached. */
  getFresh<D extends DescMessage>(key: string, schema: D): Promise<MessageShape<D> | undefined>;
  /** A stretch of an object, whole and of the right checksum. */
  read(stretch: Stretch, signal?: AbortSignal): Promise<Uint8Array>;
  /** All objects of ours under a prefix, in order. */
  list(prefix: string, options?: { startAfter?: string; signal?: AbortSignal }): AsyncGenerator<ObjectInfo, void, undefined>;
  /** The first object of ours under a prefix, or the first whose key is `wanted`. */
  first(prefix: string, startAfter?: string, wanted?: (key: string) => boolean): Promise<ObjectInfo | undefined>;
  delete(key: string): Promise<void>;
}

/** With no bytes for what was read, everything is read from the store each time. */
export function createObjects(driver: Driver, cacheBytes = CACHE_BYTES): Objects {
  const cache = new LruCache<string, Uint8Array>(cacheBytes);

  async function fetch(key: string): Promise<Uint8Array | undefined> {
    try {
      const bytes = await driver.read(key, undefined);
      keep(key, bytes);
      return bytes;
    } catch (error) {
      if (error instanceof StoreError && error.kind === "notFound") return undefined;
      throw error;
    }
  }

  function keep(key: string, bytes: Uint8Array): void {
    if (bytes.length <= CACHED_OBJECT_BYTES) cache.set(key, bytes, bytes.length + key.length + CACHED_OBJECT_COST_BYTES);
  }

  return {
    driver,
    async put(key, schema, message) {
      const bytes = toBinary(schema, message);
      const created = await driver.putIfAbsent(key, [bytes], { crc32c: crc32c(bytes) });
      if (created) keep(key, bytes);
      return created;
    },
    putParts(key, parts, crc = crc32cOfParts(parts), signal) {
      return driver.putIfAbsent(key, parts, { crc32c: crc, signal });
    },
    async get(key, schema) {
      const bytes = cache.get(key) ?? (await fetch(key));
      return bytes && decode(driver, key, schema, bytes);
    },
    async getFresh(key, schema) {
      const bytes = await fetch(key);
      return bytes && decode(driver, key, schema, bytes);
    },
    async read(stretch, signal) {
      const cacheKey = `${stretch.key}#${stretch.offset}`;
      const cached = cache.get(cacheKey);
      if (cached) return cached;
      const bytes = await readChecked(driver, stretch, signal);
      keep(cacheKey, bytes);
      return bytes;
    },
    async *list(prefix, options = {}) {
      let startAfter = options.startAfter;
      for (;;) {
        const page = await driver.list(prefix, { startAfter, limit: LIST_PAGE, signal: options.signal });
        for (const object of page.objects) if (isOurs(object.key)) yield object;
        const last = page.objects.at(-1);
        if (!page.more || !last) return;
        startAfter = last.key;
      }
    },
    async first(prefix, startAfter, wanted = isOurs) {
      // Mostly the first that is there; where others keep many, in ever larger pages.
      for (let limit = 1; ; limit = Math.min(2 * limit, LIST_PAGE)) {
        const page = await driver.list(prefix, { startAfter, limit });
        const found = page.objects.find(({ key }) => wanted(key));
        const last = page.objects.at(-1);
        if (found || !page.more || !last) return found;
        startAfter = last.key;
      }
    },
    delete(key) {
      cache.delete(key);
      return driver.delete(key);
    },
  };
}

async function readChecked(driver: Driver, stretch: Stretch, signal?: AbortSignal): Promise<Uint8Array> {
  // Once more: the bytes may have been damaged on the way here rather than where they are kept.
  for (let attempt = 0; ; attempt++) {
    const bytes = await driver.read(stretch.key, { offset: stretch.offset, length: stretch.length }, { signal });
    if (bytes.length === stretch.length && crc32c(bytes) === stretch.crc32c) return bytes;
    if (attempt === 1) throw new StoreError("damaged", `${driver.name}: ${stretch.key} is damaged at byte ${stretch.offset}`);
  }
}

function decode<D extends DescMessage>(driver: Driver, key: string, schema: D, bytes: Uint8Array): MessageShape<D> {
  try {
    return fromBinary(schema, bytes);
  } catch (cause) {
    throw new StoreError("damaged", `${driver.name}: ${key} is not a ${schema.typeName}`, { cause });
  }
}
