import type { Driver } from "../../driver.ts";

/** The part of a driver's store whose keys begin with `prefix`, as a store of its own. Keys in errors stay whole. */
export function prefixed(driver: Driver, prefix: string): Driver {
  if (prefix === "") return driver;
  return {
    name: driver.name,
    readBytes: driver.readBytes,
    putIfAbsent: (key, body, options) => driver.putIfAbsent(prefix + key, body, options),
    read: (key, range, options) => driver.read(prefix + key, range, options),
    async list(keyPrefix, options = {}) {
      const { startAfter } = options;
      const page = await driver.list(
        prefix + keyPrefix,
        startAfter === undefined ? options : { ...options, startAfter: prefix + startAfter },
      );
      return { more: page.more, objects: page.objects.map((object) => ({ ...object, key: object.key.slice(prefix.length) })) };
    },
    delete: (key, options) => driver.delete(prefix + key, options),
    close: () => driver.close(),
  };
}
