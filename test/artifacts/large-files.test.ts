import assert from "node:assert/strict";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { type Commit, LogEntrySchema } from "../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { planPieces } from "../../src/artifacts/downloads/pieces.ts";
import { logKey } from "../../src/artifacts/keys.ts";
import { createManifestWriter, type StoredEntry, type StoredExtent } from "../../src/artifacts/manifests/index.ts";
import type { DownloadEvent } from "../../src/artifacts/types.ts";
import { crc32c } from "../../src/lib/crc32c.ts";
import { PROJECT, type Servers, servers, upload } from "../support/domain.ts";
import { usedBytes } from "../support/memory.ts";

const MIB = 1024 * 1024;
const OBJECT_BYTES = 16 * MIB;
const LARGE_OBJECTS = 200 * 64;

/** A file of 200 GiB whose data objects are one and the same. */
async function addLargeFile(all: Servers, run: string): Promise<void> {
  const bytes = Buffer.alloc(OBJECT_BYTES, 7);
  await upload(await all.open(), { run }, { small: bytes });
  const object = all.store.keys.find((key) => key.includes("/data/"))?.slice(PROJECT.length + 1) ?? "";
  const extent: StoredExtent = { object, offset: 0, length: OBJECT_BYTES, crc32c: Array(16).fill(crc32c(bytes.subarray(0, MIB))) };
  const extents = Array.from({ length: LARGE_OBJECTS }, () => extent);
  const large: StoredEntry = { path: "large", type: "file", size: LARGE_OBJECTS * OBJECT_BYTES, mtimeNs: 1n, crc32c: 1, extents };
  const add = (key: string, parts: readonly Uint8Array[]) => {
    const stored = Buffer.concat(parts);
    all.store.add(key, { bytes: stored, crc32c: crc32c(stored), lastModified: new Date() });
    return key.slice(PROJECT.length + 1);
  };
  let n = 0;
  const put = async (parts: readonly Uint8Array[]) => add(`${PROJECT}/data/made-by-hand/0/manifest-${n++}`, parts);
  const manifest = createManifestWriter({ put }, { read: () => Promise.reject(new Error("nothing is to be read")) });
  await manifest.add(large);
  const first = all.store.byKey.get(logKey(PROJECT, run, 1))?.bytes ?? new Uint8Array();
  const entry = fromBinary(LogEntrySchema, first);
  (entry.change.value as Commit).manifest = await manifest.finish();
  add(logKey(PROJECT, run, 2), [toBinary(LogEntrySchema, { ...entry, id: "made-by-hand", commits: 2n })]);
}

describe("a download of a large file", () => {
  it("holds little of it at a time", async () => {
    const all = servers();
    await addLargeFile(all, "r");
    const server = await all.open();
    const download = () => server.download({ project: PROJECT, reference: { run: "r" }, path: "large" })[Symbol.asyncIterator]();
    const begun = [download(), download()];
    const taken: number[] = [];
    for (const one of begun) {
      const before = usedBytes().heap;
      for (let hasBytes = false; !hasBytes; ) {
        const { value } = await one.next();
        hasBytes = value?.some((event: DownloadEvent) => event.type === "chunk");
      }
      taken.push(usedBytes().heap - before);
    }
    for (const one of begun) await one.return?.();
    // The entry itself, with its extents and their checksums, takes 3 MiB.
    assert.ok(Math.max(...taken) < 8 * MIB, `downloads take ${taken.join(" and ")} bytes`);
  });

  it("works out its pieces some at a time", () => {
    const extents = Array.from({ length: LARGE_OBJECTS }, () => ({
      object: "o",
      offset: 0,
      length: OBJECT_BYTES,
      crc32c: Array(16).fill(0),
    }));
    const [first] = planPieces([{ entry: { extents }, from: 0, to: LARGE_OBJECTS * OBJECT_BYTES }]);
    assert.equal(first?.length, 256);
  });

  it("reads the pieces that what is wanted lies in, and no others", () => {
    const lengths = fc.array(fc.integer({ min: 1, max: 3 * MIB }), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(lengths, fc.array(fc.tuple(fc.nat(12 * MIB), fc.nat(12 * MIB)), { minLength: 1, maxLength: 200 }), (sizes, ranges) => {
        const extents = sizes.map((length, n) => ({
          object: `${n}`,
          offset: n,
          length,
          crc32c: Array.from({ length: Math.ceil(length / MIB) }, (_, i) => i),
        }));
        const size = sizes.reduce((sum, length) => sum + length, 0);
        const wanted = ranges.map(([a, b]) => ({ entry: { extents }, from: Math.min(a, b, size), to: Math.min(Math.max(a, b), size) }));
        const pieces = [...planPieces(wanted)].flat();
        for (const owner of wanted) {
          let at = owner.from;
          for (const piece of pieces.filter((each) => each.owner === owner)) {
            const extent = extents[Number(piece.object)] as (typeof extents)[number];
            const before = sizes.slice(0, Number(piece.object)).reduce((sum, length) => sum + length, 0);
            const inExtent = piece.offset - extent.offset;
            assert.equal(inExtent, piece.crc32c * MIB);
            assert.equal(piece.length, Math.min(MIB, extent.length - inExtent));
            assert.equal(before + inExtent + piece.from, at);
            assert.ok(0 <= piece.from && piece.from < piece.to && piece.to <= piece.length);
            at += piece.to - piece.from;
          }
          assert.equal(at, owner.to);
        }
      }),
    );
  });
});
