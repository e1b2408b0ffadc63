import assert from "node:assert/strict";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { type Block, BlockSchema, type Entry, EntryKind } from "../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { type Entries, openBlock } from "../../src/artifacts/manifests/block-decoder.ts";
import { BlockEncoder } from "../../src/artifacts/manifests/block-encoder.ts";
import type { LayerEntry, StoredExtent } from "../../src/artifacts/manifests/types.ts";

const plain = { noNullPrototype: true };
const size = fc.nat().map((n) => n * 2 ** 20 + n);
const extent: fc.Arbitrary<StoredExtent> = fc.record(
  {
    object: fc.constantFrom("data/a/0/1", "data/a/0/2", "data/ü/1/0"),
    offset: size,
    length: size,
    crc32c: fc.array(fc.nat(), { maxLength: 3 }),
  },
  plain,
);
const extents = fc.array(extent, { maxLength: 3 });
const path = fc.string({ unit: "grapheme", minLength: 1, maxLength: 40 });
const mtimeNs = fc.bigInt({ min: -(2n ** 62n), max: 2n ** 62n });
const mode = fc.nat(0o777);
const entry: fc.Arbitrary<LayerEntry> = fc.oneof(
  fc.record({ path, type: fc.constant("file" as const), size, mode, mtimeNs, crc32c: fc.nat(), extents }, plain),
  fc.record({ path, type: fc.constant("folder" as const), mode, mtimeNs, extents: fc.constant([]) }, plain),
  fc.record({ path, type: fc.constant("folder" as const), mode, mtimeNs, extents: fc.constant([]), hidesOlder: fc.constant(true) }, plain),
  fc.record({ path, type: fc.constant("link" as const), linkTarget: path, mtimeNs, extents: fc.constant([]) }, plain),
  fc.record({ path, type: fc.constant("trace" as const), extents: fc.constant([]) }, plain),
);

const all = (entries: Entries): LayerEntry[] => Array.from({ length: entries.length }, (_, i) => entries.entry(i));
const paths = (entries: Entries): string[] => Array.from({ length: entries.length }, (_, i) => entries.path(i));

const KINDS = { file: EntryKind.FILE, folder: EntryKind.FOLDER, link: EntryKind.LINK, trace: EntryKind.TRACE };

/** An entry as the generated code decodes it. */
function fieldsOf({ objects }: Block, { $typeName: _, extents, ...fields }: Entry) {
  return {
    ...fields,
    size: Number(fields.size),
    extents: extents.map(({ object, offset, length, crc32c }) => ({
      object: objects[object],
      offset: Number(offset),
      length: Number(length),
      crc32c,
    })),
  };
}

function withDefaults({ type, ...fields }: LayerEntry) {
  return { kind: KINDS[type], size: 0, mode: 0, mtimeNs: 0n, crc32c: 0, linkTarget: "", hidesOlder: false, ...fields };
}

function encode(entries: readonly LayerEntry[]): Uint8Array {
  const encoder = new BlockEncoder(64);
  for (const each of entries) encoder.add(each);
  return encoder.finish();
}

describe("a block of entries", () => {
  it("has the bytes that the generated code writes and reads, and is read as it was written", () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 20 }), (entries) => {
        const bytes = encode(entries);
        const message = fromBinary(BlockSchema, bytes);
        assert.deepEqual(Buffer.from(toBinary(BlockSchema, message)), Buffer.from(bytes));
        assert.deepEqual(
          message.entries.map((each) => fieldsOf(message, each)),
          entries.map(withDefaults),
        );
        const opened = openBlock(bytes);
        assert.deepEqual(all(opened), entries);
        assert.deepEqual(
          paths(opened),
          entries.map((each) => each.path),
        );
      }),
      { numRuns: 300 },
    );
  });

  it("is read with fields in another order, and with fields and kinds of a later version", () => {
    const later = Buffer.from([0x9a, 0x06, 1, 7]);
    const objects = toBinary(BlockSchema, create(BlockSchema, { objects: ["data/a/0/1"] }));
    const fields = (block: Partial<Block>) => toBinary(BlockSchema, create(BlockSchema, block as Block)).subarray(2);
    const pathLast = Buffer.concat([
      fields({ entries: [{ kind: EntryKind.FILE, size: 3n, mode: 0o600 }] } as Partial<Block>),
      fields({ entries: [{ path: "a", extents: [{ length: 3n }] }] } as Partial<Block>),
      later,
    ]);
    const unknown = fields({ entries: [{ path: "b", kind: 99 as EntryKind }] } as Partial<Block>);
    const message = (bytes: Uint8Array) => Buffer.concat([Buffer.from([0x12, bytes.length]), bytes]);
    const opened = openBlock(Buffer.concat([message(pathLast), later, message(unknown), objects]));
    const extents = [{ object: "data/a/0/1", offset: 0, length: 3, crc32c: [] }];
    assert.deepEqual(all(opened), [
      { path: "a", type: "file", size: 3, mode: 0o600, mtimeNs: 0n, crc32c: 0, extents },
      { path: "b", type: "trace", extents: [] },
    ]);
    assert.deepEqual(paths(opened), ["a", "b"]);
  });

  it("is refused when it is cut off", () => {
    const bytes = encode([{ path: "a", type: "trace", extents: [] }]);
    for (let length = 1; length < bytes.length; length++) assert.throws(() => all(openBlock(bytes.subarray(0, length))));
  });
});
