/**
 * The driver contract (src/store/driver.ts), as statements that each driver is held to. A driver brings a harness, and all cases run
 * on it: none is optional. Where one server can't do what a case needs, the harness uses a second server for it.
 */
import assert from "node:assert/strict";
import { crc32cOfParts } from "../../src/lib/crc32c.ts";
import type { ByteParts, Driver, ObjectInfo, ObjectRange, StoreErrorKind } from "../../src/store/driver.ts";
import { StoreError } from "../../src/store/driver.ts";

/** What a driver brings to be tested. Spaces are names such as `c12`; what is put in one isn't seen in another. */
export interface DriverHarness {
  /** Starts servers and the like; before everything else. */
  start(): Promise<void>;
  /** Opens a driver on a space, empty when it is opened first. Opened again, it is a second driver on the same objects. */
  open(space: string): Promise<Driver>;
  /** The same, on a store where a byte of an object can be changed behind the driver's back, at rest or on its way back. */
  openDamageable(space: string): Promise<DamageableStore>;
  /** Calls that fail for reasons of this kind of store: at least one. */
  readonly failures: readonly [FailingCall, ...FailingCall[]];
  /** Stops what `start` started. */
  stop(): Promise<void>;
}

export interface DamageableStore {
  readonly driver: Driver;
  /** Changes a byte of the object, for all reads from now on. */
  damage(key: string): Promise<void>;
}

export interface FailingCall {
  /** For a sentence: "fails with kind … when …". */
  readonly when: string;
  readonly kind: StoreErrorKind;
  /** Makes the call, which must reject. */
  call(): Promise<unknown>;
}

const KIB = 1024;
const MIB = 1024 * KIB;
/** The largest object that is ever put: a data object of 16 MiB and its footer. */
const LARGEST = 16 * MIB + 300 * KIB;
/** The most keys of one page. */
const MAX_PAGE = 1000;

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

function assertSame(actual: Uint8Array, expected: Uint8Array): void {
  assert.equal(actual.length, expected.length);
  // Not deepEqual, which takes minutes to describe how megabytes differ.
  assert.ok(Buffer.compare(actual, expected) === 0, "the bytes differ");
}

const keysOf = (objects: readonly ObjectInfo[]): string[] => objects.map((object) => object.key);

/** Keys of a whole listing, page by page. */
async function allKeys(driver: Driver, prefix: string, limit?: number): Promise<string[]> {
  const keys: string[] = [];
  let startAfter: string | undefined;
  for (;;) {
    const page = await driver.list(prefix, { startAfter, limit });
    keys.push(...keysOf(page.objects));
    if (!page.more) return keys;
    startAfter = keys.at(-1);
  }
}

/** Holds a driver to the contract. */
export function describeDriver(name: string, harness: DriverHarness): void {
  describe(`the driver ${name}`, function () {
    this.timeout(120_000);
    let spaces = 0;
    let space = "";
    let driver: Driver;
    const opened: Driver[] = [];

    async function open(inSpace: string = space): Promise<Driver> {
      const another = await harness.open(inSpace);
      opened.push(another);
      return another;
    }

    before(() => harness.start());
    after(() => harness.stop());
    beforeEach(async () => {
      space = `c${++spaces}`;
      driver = await open();
    });
    afterEach(async () => {
      for (const one of opened.splice(0)) await one.close();
    });

    describe("puts and reads", () => {
      for (const size of [0, 1, 4 * KIB, MIB - 1, LARGEST]) {
        it(`gives back an object of ${size} bytes as it was put`, async () => {
          const bytes = testBytes(size);
          assert.equal(await put(driver, "data/object", bytes), true);
          assertSame(await driver.read("data/object", undefined), bytes);
        });
      }

      const some = testBytes(100 * KIB, 7);
      const bodies: readonly [string, ByteParts][] = [
        ["no part", []],
        ["one empty part", [new Uint8Array(0)]],
        ["parts of different sizes", [some.subarray(0, 10), some.subarray(10, 50_000), some.subarray(50_000)]],
        ["empty parts between others", [new Uint8Array(0), some.subarray(0, 9), new Uint8Array(0), some.subarray(9), new Uint8Array(0)]],
        ["5,000 parts of 20 bytes", Array.from({ length: 5000 }, (_, i) => some.subarray(i * 20, i * 20 + 20))],
        ["views on one shared buffer, in another order", [some.subarray(500, 900), some.subarray(3, 77), some.subarray(600, 700)]],
        ["Buffers from Node's pool", [Buffer.from("one"), Buffer.from("two"), Buffer.from("three")]],
        ["two parts of 6 MiB", [testBytes(6 * MIB, 2), testBytes(6 * MIB, 3)]],
      ];
      for (const [what, body] of bodies) {
        it(`joins a body of ${what}`, async () => {
          assert.equal(await put(driver, "data/object", ...body), true);
          assertSame(await driver.read("data/object", undefined), Buffer.concat(body));
        });
      }

      const keys: readonly [string, string][] = [
        ["of one letter", "k"],
        ["with a leading dot", ".format/1"],
        ["of ten segments", "a/b/c/d/e/f/g/h/i/j"],
        ["with every character that keys are made of", "ABCDEFGHIJKLMNOPQRSTUVWXYZ/abcdefghijklmnopqrstuvwxyz/0123456789._-"],
        ["with a segment of 255 bytes", `x/${"s".repeat(255)}/y`],
        ["of 700 bytes", Array.from({ length: 7 }, (_, i) => `${i}`.repeat(99)).join("/")],
      ];
      for (const [what, key] of keys) {
        it(`holds a key ${what}`, async () => {
          await put(driver, key, testBytes(10));
          assertSame(await driver.read(key, undefined), testBytes(10));
          assert.deepEqual(await allKeys(driver, ""), [key]);
        });
      }

      it("tells keys apart that differ in case or in the end", async () => {
        const names = ["Run", "run", "run-1", "run-10", "run.1"];
        for (const [i, key] of names.entries()) assert.equal(await put(driver, `runs/${key}`, testBytes(8, i + 1)), true);
        for (const [i, key] of names.entries()) assertSame(await driver.read(`runs/${key}`, undefined), testBytes(8, i + 1));
      });

      it("keeps what was put when the caller changes the buffers afterwards", async () => {
        const bytes = testBytes(5000);
        await put(driver, "object", bytes);
        bytes.fill(0);
        assertSame(await driver.read("object", undefined), testBytes(5000));
      });

      it("gives each reader bytes of its own", async () => {
        await put(driver, "object", testBytes(5000));
        (await driver.read("object", undefined)).fill(0);
        (await driver.read("object", { offset: 0, length: 5000 })).fill(0);
        assertSame(await driver.read("object", undefined), testBytes(5000));
      });

      it("shows an object to a second driver as soon as the put resolves", async () => {
        const second = await open();
        for (let i = 0; i < 5; i++) {
          await put(driver, `log/${i}`, testBytes(100, i + 1));
          assertSame(await second.read(`log/${i}`, undefined), testBytes(100, i + 1));
          assert.equal((await second.list("log/")).objects.length, i + 1);
        }
      });

      it("takes 20 puts and 20 reads at once", async () => {
        const numbers = Array.from({ length: 20 }, (_, i) => i + 1);
        const created = await Promise.all(numbers.map((i) => put(driver, `many/${i}`, testBytes(i * 1000, i))));
        assert.deepEqual(created, numbers.map(() => true));
        const read = await Promise.all(numbers.map((i) => driver.read(`many/${i}`, undefined)));
        for (const i of numbers) assertSame(read[i - 1] as Uint8Array, testBytes(i * 1000, i));
      });

      it("keeps spaces apart, also when one's name begins with the other's", async () => {
        const other = await open(`${space}x`);
        await put(driver, "object", testBytes(10, 1));
        assert.deepEqual(await allKeys(other, ""), []);
        assert.equal(await put(other, "object", testBytes(10, 2)), true);
        assert.deepEqual(await allKeys(driver, ""), ["object"]);
        assertSame(await driver.read("object", undefined), testBytes(10, 1));
      });
    });

    describe("creates an object once", () => {
      it("answers false to a second put, and keeps the first body", async () => {
        await put(driver, "entry", testBytes(100, 1));
        assert.equal(await put(driver, "entry", testBytes(200, 2)), false);
        assertSame(await driver.read("entry", undefined), testBytes(100, 1));
      });

      it("answers false also when the second body is the same", async () => {
        await put(driver, "entry", testBytes(100));
        assert.equal(await put(driver, "entry", testBytes(100)), false);
      });

      it("answers false when the object is empty", async () => {
        assert.equal(await put(driver, "claim"), true);
        assert.equal(await put(driver, "claim", testBytes(1)), false);
        assert.equal((await driver.read("claim", undefined)).length, 0);
      });

      it("answers false to a large second body", async () => {
        await put(driver, "entry", testBytes(10, 1));
        assert.equal(await put(driver, "entry", testBytes(LARGEST, 2)), false);
        assertSame(await driver.read("entry", undefined), testBytes(10, 1));
      });

      it("answers false to a second driver", async () => {
        await put(driver, "entry", testBytes(10, 1));
        assert.equal(await put(await open(), "entry", testBytes(10, 2)), false);
      });

      it("keeps the time of an object that a second put met", async () => {
        await put(driver, "entry", testBytes(10));
        const before = (await driver.list("")).objects;
        await put(driver, "entry", testBytes(10, 2));
        assert.deepEqual((await driver.list("")).objects, before);
      });

      it("has one winner of 20 puts at once, whose body stays", async () => {
        const numbers = Array.from({ length: 20 }, (_, i) => i + 1);
        const created = await Promise.all(numbers.map((i) => put(driver, "log/1", testBytes(1000 + i, i))));
        const winners = numbers.filter((i) => created[i - 1]);
        assert.equal(winners.length, 1);
        const winner = winners[0] as number;
        assertSame(await driver.read("log/1", undefined), testBytes(1000 + winner, winner));
      });

      it("has one winner among the puts of several drivers", async () => {
        const drivers = [driver, await open(), await open(), await open()];
        for (let round = 0; round < 5; round++) {
          const created = await Promise.all(drivers.map((one, i) => put(one, `log/${round}`, testBytes(500, i + 1))));
          assert.equal(created.filter(Boolean).length, 1);
          const winner = created.indexOf(true);
          for (const one of drivers) assertSame(await one.read(`log/${round}`, undefined), testBytes(500, winner + 1));
        }
      });

      it("shows the winner's object to whoever lost, at once", async () => {
        const lost = async (i: number): Promise<number> => {
          if (await put(driver, "log/1", testBytes(64, i))) return 0;
          return (await driver.read("log/1", undefined)).length;
        };
        const seen = await Promise.all(Array.from({ length: 12 }, (_, i) => lost(i + 1)));
        assert.deepEqual(seen.sort((a, b) => a - b), [0, ...Array.from({ length: 11 }, () => 64)]);
      });
    });

    describe("reads ranges", () => {
      const size = 10_000;
      const bytes = testBytes(size);
      const ranges: readonly [string, ObjectRange][] = [
        ["the first byte", { offset: 0, length: 1 }],
        ["the last byte", { offset: size - 1, length: 1 }],
        ["a stretch in the middle", { offset: 1234, length: 4321 }],
        ["exactly everything", { offset: 0, length: size }],
        ["all but the first byte", { offset: 1, length: size - 1 }],
      ];
      for (const [what, range] of ranges) {
        it(`gives ${what}`, async () => {
          await put(driver, "object", bytes);
          assertSame(await driver.read("object", range), bytes.subarray(range.offset, range.offset + range.length));
        });
      }

      it("cuts a range that goes past the end", async () => {
        await put(driver, "object", bytes);
        assertSame(await driver.read("object", { offset: size - 1, length: 2 }), bytes.subarray(size - 1));
        assertSame(await driver.read("object", { offset: 100, length: size }), bytes.subarray(100));
      });

      it("cuts a range that is far longer than the object", async () => {
        await put(driver, "object", bytes);
        assertSame(await driver.read("object", { offset: 0, length: 64 * MIB }), bytes);
      });

      it("refuses a range that starts at the end", async () => {
        await put(driver, "object", bytes);
        await rejectsWith("outOfRange", driver.read("object", { offset: size, length: 1 }));
      });

      it("refuses a range that starts past the end", async () => {
        await put(driver, "object", bytes);
        await rejectsWith("outOfRange", driver.read("object", { offset: size + 1, length: 10 }));
        await rejectsWith("outOfRange", driver.read("object", { offset: 2 ** 40, length: 10 }));
      });

      it("refuses every range of an empty object", async () => {
        await put(driver, "empty");
        await rejectsWith("outOfRange", driver.read("empty", { offset: 0, length: 1 }));
      });

      it("doesn't find a range of an object that isn't there", async () => {
        await rejectsWith("notFound", driver.read("object", { offset: 0, length: 1 }));
      });

      it("gives 1 MiB from anywhere in the largest object, 17 at once", async () => {
        const large = testBytes(LARGEST);
        await put(driver, "data/large", large);
        const offsets = Array.from({ length: 17 }, (_, i) => i * MIB);
        const read = await Promise.all(offsets.map((offset) => driver.read("data/large", { offset, length: MIB })));
        assertSame(Buffer.concat(read), large);
      });
    });

    describe("lists", () => {
      /** In the order of their bytes: `-` and `.` come before `/`, digits, upper case, `_` and lower case after it. */
      const ordered = ["A/1", "A0", "_", "a-b", "a-b-c", "a.b", "a/b", "a/b0", "a/c-d", "a/c/d", "a/c0", "a0", "aa", "b/.x", "b/0", "z"];

      async function putAll(keys: readonly string[]): Promise<void> {
        await Promise.all(keys.map((key) => put(driver, key, Buffer.from(key))));
      }

      it("nothing in an empty store", async () => {
        assert.deepEqual(await driver.list(""), { objects: [], more: false });
        assert.deepEqual(await driver.list("runs/"), { objects: [], more: false });
      });

      it("all keys in the order of their bytes", async () => {
        await putAll([...ordered].reverse());
        assert.deepEqual(keysOf((await driver.list("")).objects), ordered);
      });

      it("numbers of 12 digits in their order", async () => {
        const keys = [999_999_999_998, 999_999_999_999, 1, 20, 3].map((n) => `log/r/${String(n).padStart(12, "0")}`);
        await putAll(keys);
        assert.deepEqual(await allKeys(driver, "log/r/"), [...keys].sort());
      });

      it("each object's size in bytes", async () => {
        await put(driver, "empty");
        await put(driver, "large", testBytes(3 * MIB), testBytes(17));
        const { objects } = await driver.list("");
        assert.deepEqual(objects.map(({ key, size }) => [key, size]), [["empty", 0], ["large", 3 * MIB + 17]]);
      });

      it("when each object was put, to within a minute of this clock", async () => {
        await put(driver, "object", testBytes(1));
        const [object] = (await driver.list("")).objects;
        assert.ok(object?.lastModified instanceof Date);
        assert.ok(Math.abs(object.lastModified.getTime() - Date.now()) < 60_000, String(object.lastModified));
      });

      const prefixes: readonly [string, string, readonly string[]][] = [
        ["a folder", "a/", ["a/b", "a/b0", "a/c-d", "a/c/d", "a/c0"]],
        ["a prefix that ends inside a segment", "a/c", ["a/c-d", "a/c/d", "a/c0"]],
        ["a prefix that ends before a slash", "a", ["a-b", "a-b-c", "a.b", "a/b", "a/b0", "a/c-d", "a/c/d", "a/c0", "a0", "aa"]],
        ["a whole key, and what goes on from it", "a-b", ["a-b", "a-b-c"]],
        ["a prefix that nothing starts with", "a/x", []],
        ["a prefix longer than any key", "z/1/2/3", []],
        ["a prefix in another case", "Z", []],
      ];
      for (const [what, prefix, expected] of prefixes) {
        it(`under ${what}`, async () => {
          await putAll(ordered);
          const page = await driver.list(prefix);
          assert.deepEqual(keysOf(page.objects), expected);
          assert.equal(page.more, false);
        });
      }

      const starts: readonly [string, string, string, readonly string[]][] = [
        ["a key, without it", "a/", "a/c-d", ["a/c/d", "a/c0"]],
        ["a key that isn't there", "a/", "a/bzz", ["a/c-d", "a/c/d", "a/c0"]],
        ["a folder, with what is in it", "a/", "a/c/", ["a/c/d", "a/c0"]],
        ["all of a folder, by the character after the slash", "a", "a/0", ["a/b", "a/b0", "a/c-d", "a/c/d", "a/c0", "a0", "aa"]],
        ["the whole folder, skipped by a key behind it", "", "a0", ["aa", "b/.x", "b/0", "z"]],
        ["something before the prefix", "b/", "a", ["b/.x", "b/0"]],
        ["the last key", "", "z", []],
        ["something behind the prefix", "a/", "b", []],
      ];
      for (const [what, prefix, startAfter, expected] of starts) {
        it(`what comes after ${what}`, async () => {
          await putAll(ordered);
          const page = await driver.list(prefix, { startAfter });
          assert.deepEqual(keysOf(page.objects), expected);
          assert.equal(page.more, false);
        });
      }

      for (const limit of [1, 2, 5, ordered.length - 1, ordered.length]) {
        it(`pages of ${limit} that are full, in order, and without gaps`, async () => {
          await putAll(ordered);
          let startAfter: string | undefined;
          for (let at = 0; at < ordered.length; at += limit) {
            const page = await driver.list("", { startAfter, limit });
            assert.deepEqual(keysOf(page.objects), ordered.slice(at, at + limit));
            assert.equal(page.more, at + limit < ordered.length);
            startAfter = page.objects.at(-1)?.key;
          }
        });
      }

      it("no more when other keys follow that lack the prefix", async () => {
        await putAll(ordered);
        assert.equal((await driver.list("a/", { limit: 5 })).more, false);
        assert.equal((await driver.list("a/", { limit: 4 })).more, true);
      });

      it("more than 1,000 keys in pages of 1,000 at the most", async () => {
        const keys = Array.from({ length: MAX_PAGE + 60 }, (_, i) => `data/u/${String(i).padStart(12, "0")}`);
        for (let i = 0; i < keys.length; i += 40) await putAll(keys.slice(i, i + 40));
        const first = await driver.list("data/");
        assert.deepEqual(keysOf(first.objects), keys.slice(0, MAX_PAGE));
        assert.equal(first.more, true);
        const second = await driver.list("data/", { startAfter: keys[MAX_PAGE - 1], limit: MAX_PAGE });
        assert.deepEqual(keysOf(second.objects), keys.slice(MAX_PAGE));
        assert.equal(second.more, false);
        assert.deepEqual(keysOf((await driver.list("data/u/", { limit: 3 })).objects), keys.slice(0, 3));
        assert.deepEqual(await allKeys(driver, "", 333), keys);
      });
    });

    describe("deletes", () => {
      it("an object from reads and listings", async () => {
        await put(driver, "data/1", testBytes(10));
        await put(driver, "data/2", testBytes(10));
        await driver.delete("data/1");
        await rejectsWith("notFound", driver.read("data/1", undefined));
        await rejectsWith("notFound", driver.read("data/1", { offset: 0, length: 1 }));
        assert.deepEqual(await allKeys(driver, ""), ["data/2"]);
      });

      it("for other drivers too, at once", async () => {
        const second = await open();
        await put(driver, "data/1", testBytes(10));
        assertSame(await second.read("data/1", undefined), testBytes(10));
        await driver.delete("data/1");
        await rejectsWith("notFound", second.read("data/1", undefined));
        assert.deepEqual(await allKeys(second, ""), []);
      });

      it("what isn't there without an error", async () => {
        await driver.delete("data/none");
        await put(driver, "data/1", testBytes(10));
        await driver.delete("data/1");
        await driver.delete("data/1");
      });

      it("one object 5 times at once without an error", async () => {
        await put(driver, "data/1", testBytes(10));
        await Promise.all(Array.from({ length: 5 }, () => driver.delete("data/1")));
        await rejectsWith("notFound", driver.read("data/1", undefined));
      });

      it("nothing else: neither keys that go on from it nor neighbours", async () => {
        await put(driver, "data/1", testBytes(10));
        await put(driver, "data/10", testBytes(10));
        await put(driver, "data/2/1", testBytes(10));
        await driver.delete("data/1");
        await driver.delete("data/2");
        await driver.delete("data");
        assert.deepEqual(await allKeys(driver, ""), ["data/10", "data/2/1"]);
      });

      it("so that the key can be created again, with another body", async () => {
        await put(driver, "data/1", testBytes(10, 1));
        await driver.delete("data/1");
        assert.equal(await put(driver, "data/1", testBytes(20, 2)), true);
        assertSame(await driver.read("data/1", undefined), testBytes(20, 2));
      });

      it("the last of a prefix while others are put there", async () => {
        const rounds = Array.from({ length: 20 }, (_, i) => i);
        for (const i of rounds) {
          await put(driver, `data/u/a/${i}`, testBytes(10));
          const [, created] = await Promise.all([driver.delete(`data/u/a/${i}`), put(driver, `data/u/a/${i}-next`, testBytes(10))]);
          assert.equal(created, true);
          assertSame(await driver.read(`data/u/a/${i}-next`, undefined), testBytes(10));
          await driver.delete(`data/u/a/${i}-next`);
        }
        assert.deepEqual(await allKeys(driver, ""), []);
      });

      it("an object that was listed, and a listing goes on behind it", async () => {
        for (const n of [1, 2, 3]) await put(driver, `data/${n}`, testBytes(n));
        const page = await driver.list("data/", { limit: 1 });
        await driver.delete("data/1");
        const next = await driver.list("data/", { startAfter: page.objects[0]?.key });
        assert.deepEqual(keysOf(next.objects), ["data/2", "data/3"]);
      });
    });

    describe("checks bytes", () => {
      for (const size of [0, 1, 5000, LARGEST]) {
        it(`refuses a body of ${size} bytes that isn't what its checksum says, and leaves nothing`, async () => {
          const body = [testBytes(size)];
          const wrong = (crc32cOfParts(body) ^ 0x0100) >>> 0;
          await rejectsWith("damaged", driver.putIfAbsent("object", body, { crc32c: wrong }));
          await rejectsWith("notFound", driver.read("object", undefined));
          assert.deepEqual(await allKeys(driver, ""), []);
        });
      }

      it("takes the right body after a wrong one was refused", async () => {
        const body = [testBytes(100), testBytes(50)];
        await rejectsWith("damaged", driver.putIfAbsent("object", body, { crc32c: crc32cOfParts([...body].reverse()) }));
        assert.equal(await put(driver, "object", ...body), true);
        assertSame(await driver.read("object", undefined), Buffer.concat(body));
      });

      for (const size of [1, 5000, MIB + 1]) {
        it(`finds a changed byte in an object of ${size} bytes when it is read whole`, async () => {
          const store = await harness.openDamageable(space);
          opened.push(store.driver);
          await put(store.driver, "damaged", testBytes(size));
          await put(store.driver, "intact", testBytes(size));
          await store.damage("damaged");
          const error = await rejectsWith("damaged", store.driver.read("damaged", undefined));
          assert.match(error.message, /damaged/, "the message names the key");
          assertSame(await store.driver.read("intact", undefined), testBytes(size));
        });
      }
    });

    describe("ends a call early", () => {
      class Reason extends Error {}
      const reason = new Reason("enough");
      const calls: readonly [string, (signal: AbortSignal) => Promise<unknown>][] = [
        ["a put", (signal) => driver.putIfAbsent("new", [testBytes(5000)], { crc32c: crc32cOfParts([testBytes(5000)]), signal })],
        ["a read", (signal) => driver.read("object", undefined, { signal })],
        ["a read of a range", (signal) => driver.read("object", { offset: 5, length: 10 }, { signal })],
        ["a listing", (signal) => driver.list("", { signal })],
        ["a deletion", (signal) => driver.delete("object", { signal })],
      ];
      for (const [what, call] of calls) {
        it(`${what} whose signal was aborted before doesn't start, and rejects with the reason`, async () => {
          await put(driver, "object", testBytes(5000));
          await assert.rejects(call(AbortSignal.abort(reason)), (error) => error === reason);
          assert.deepEqual(await allKeys(driver, ""), ["object"]);
        });

        it(`${what} that is under way rejects with the signal's reason, and the driver goes on working`, async () => {
          await put(driver, "object", testBytes(5000));
          const controller = new AbortController();
          const running = call(controller.signal);
          controller.abort(reason);
          await assert.rejects(running, (error) => error === reason);
          assert.equal(await put(driver, "other", testBytes(10)), true);
          assertSame(await driver.read("other", undefined), testBytes(10));
        });

        it(`${what} whose signal is aborted afterwards has its result`, async () => {
          await put(driver, "object", testBytes(5000));
          const controller = new AbortController();
          await call(controller.signal);
          controller.abort(reason);
          assert.ok(await driver.list(""));
        });
      }

      it("a put of the largest object that is cut off anywhere leaves all of it or nothing", async () => {
        const bytes = testBytes(LARGEST);
        const crc32c = crc32cOfParts([bytes]);
        for (const turns of [1, 4, 16, 64, 256]) {
          const key = `cut/${turns}`;
          const controller = new AbortController();
          const running = driver.putIfAbsent(key, [bytes], { crc32c, signal: controller.signal }).then(
            () => "created",
            (error: unknown) => error,
          );
          for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
          controller.abort(reason);
          const outcome = await running;
          assert.ok(outcome === "created" || outcome === reason, String(outcome));
          // Whichever way it ended: afterwards the key can be put or is whole.
          const createdNow = await driver.putIfAbsent(key, [bytes], { crc32c });
          if (outcome === "created") assert.equal(createdNow, false);
          assertSame(await driver.read(key, undefined), bytes);
        }
        assert.deepEqual((await driver.list("cut/")).objects.map(({ size }) => size), Array(5).fill(LARGEST));
      });
    });

    describe("says what is wrong", () => {
      it("when an object isn't there, naming the store and the key", async () => {
        await put(driver, "log/other", testBytes(10));
        const error = await rejectsWith("notFound", driver.read("log/none", undefined));
        assert.ok(error.message.includes(driver.name), error.message);
        assert.match(error.message, /log\/none/);
      });

      it("when a prefix is read as if it were an object", async () => {
        await put(driver, "log/run/1", testBytes(10));
        await rejectsWith("notFound", driver.read("log/run", undefined));
      });

      it("when an object is read as if it were a prefix", async () => {
        await put(driver, "log/run", testBytes(10));
        await rejectsWith("notFound", driver.read("log/run/1", undefined));
        assert.deepEqual(await driver.list("log/run/"), { objects: [], more: false });
        await driver.delete("log/run/1");
      });

      it("when it is called after it was closed, and closing again does no harm", async () => {
        await put(driver, "object", testBytes(10));
        await driver.close();
        await driver.close();
        for (const call of [() => put(driver, "new", testBytes(1)), () => driver.read("object", undefined), () => driver.list(""), () => driver.delete("object")]) {
          await rejectsWith("failed", call());
        }
        assert.deepEqual(await allKeys(await open(), ""), ["object"]);
      });

      for (const { when, kind, call } of harness.failures) {
        it(`with kind \`${kind}\` when ${when}`, async () => {
          await rejectsWith(kind, call());
        });
      }
    });
  });
}
