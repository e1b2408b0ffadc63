import assert from "node:assert/strict";
import { create, fromBinary, protoInt64, toBinary } from "@bufbuild/protobuf";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { DownloadResponseSchema, UploadRequestSchema, UploadStartSchema } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { EntryHeaderSchema, EntryType, FileEndSchema } from "../../gen/ts/dstack/artifacts/v1/entries_pb.ts";
import { downloadCodec, uploadCodec } from "../../src/wire/codec.ts";
import { decodeEntry } from "../../src/wire/entries.ts";
import type { UploadMessage } from "../../src/wire/messages.ts";
import { createMessageReader } from "../../src/wire/reader.ts";
import { createMessageWriter } from "../../src/wire/writer.ts";

const MAX_CHUNK = 20_000;

const message: fc.Arbitrary<UploadMessage> = fc.oneof(
  fc.integer({ min: 0, max: 50_000 }).map((size): UploadMessage => ({ case: "chunk", value: new Uint8Array(size).fill(size) })),
  fc.string({ maxLength: 200 }).map((uploadId): UploadMessage => ({ case: "start", value: create(UploadStartSchema, { uploadId }) })),
  fc
    .record({ path: fc.string({ maxLength: 70_000 }), mode: fc.nat() })
    .map(({ path, mode }): UploadMessage => ({ case: "file", value: create(EntryHeaderSchema, { path, mode, type: EntryType.FILE }) })),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((value): UploadMessage => ({ case: "skip", value: protoInt64.uParse(value) as bigint })),
  fc.nat().map((crc32c): UploadMessage => ({ case: "fileEnd", value: create(FileEndSchema, { crc32c, size: 7n }) })),
);

/** The messages in framed bytes, by protobuf-es. */
function decode(bytes: Buffer): UploadMessage[] {
  const messages: UploadMessage[] = [];
  for (let at = 0; at < bytes.length; ) {
    assert.equal(bytes[at], 0);
    const length = bytes.readUInt32BE(at + 1);
    messages.push(fromBinary(UploadRequestSchema, bytes.subarray(at + 5, at + 5 + length)).message);
    at += 5 + length;
  }
  return messages;
}

/** What the writer is expected to make of messages: chunks over the limit in several. */
function cut(messages: readonly UploadMessage[]): UploadMessage[] {
  return messages.flatMap((each) => {
    if (each.case !== "chunk") return [each];
    const parts: UploadMessage[] = [];
    for (let at = 0; at === 0 || at < each.value.length; at += MAX_CHUNK)
      parts.push({ case: "chunk", value: each.value.subarray(at, at + MAX_CHUNK) });
    return parts;
  });
}

function plain(messages: readonly UploadMessage[]): unknown[] {
  return messages.map((each) => (each.case === "chunk" ? Buffer.from(each.value).toString("latin1") : each));
}

/** Mostly of a size that files and times have. */
const uint64 = fc.oneof({ weight: 3, arbitrary: fc.bigInt({ min: 0n, max: 2n ** 50n }) }, fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }));
const int64 = fc.oneof(
  { weight: 3, arbitrary: fc.bigInt({ min: 0n, max: 2n ** 33n }) },
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
);
const header = fc
  .record({
    path: fc.oneof(fc.string({ unit: "grapheme-ascii", maxLength: 300 }), fc.string({ unit: "binary", maxLength: 300 })),
    type: fc.constantFrom(EntryType.UNSPECIFIED, EntryType.FILE, EntryType.FOLDER, EntryType.LINK),
    size: fc.option(uint64, { nil: undefined }),
    mode: fc.option(fc.nat({ max: 2 ** 32 - 1 }), { nil: undefined }),
    mtime: fc.option(
      fc.record({ seconds: int64, nanos: fc.nat({ max: 999_999_999 }) }).map((time) => create(TimestampSchema, time)),
      { nil: undefined },
    ),
    linkTarget: fc.string({ maxLength: 20 }),
    try: fc.nat({ max: 2 ** 32 - 1 }),
    crc32c: fc.option(fc.nat({ max: 2 ** 32 - 1 }), { nil: undefined }),
    offset: uint64,
  })
  .map((fields) =>
    create(EntryHeaderSchema, Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as typeof fields),
  );
const fileEnd = fc.record({ size: uint64, crc32c: fc.nat({ max: 2 ** 32 - 1 }) }).map((fields) => create(FileEndSchema, fields));

describe("headers and ends of files", () => {
  it("are written as protobuf-es writes them, in both streams", () => {
    fc.assert(
      fc.property(header, fileEnd, (file, end) => {
        for (const message of [
          { case: "file", value: file },
          { case: "fileEnd", value: end },
        ] as const) {
          const upload = toBinary(UploadRequestSchema, create(UploadRequestSchema, { message }));
          const download = toBinary(DownloadResponseSchema, create(DownloadResponseSchema, { message }));
          assert.deepEqual(Buffer.from(uploadCodec.encode(message)), Buffer.from(upload));
          assert.deepEqual(Buffer.from(downloadCodec.encode(message)), Buffer.from(download));
        }
      }),
      { numRuns: 1000 },
    );
  });

  it("are read as protobuf-es reads them, whatever bytes are changed, taken out or put in", () => {
    const change = fc.record({
      at: fc.double({ min: 0, max: 1, noNaN: true }),
      byte: fc.nat(255),
      how: fc.constantFrom("change", "take", "put"),
    });
    fc.assert(
      fc.property(header, fileEnd, fc.boolean(), fc.array(change, { maxLength: 2 }), (file, end, isHeader, changes) => {
        for (const [schema, codec] of [
          [UploadRequestSchema, uploadCodec],
          [DownloadResponseSchema, downloadCodec],
        ] as const) {
          const message = isHeader ? { case: "file" as const, value: file } : { case: "fileEnd" as const, value: end };
          const bytes = [...codec.encode(message)];
          for (const { at, byte, how } of changes)
            bytes.splice(Math.floor(at * bytes.length), how === "put" ? 0 : 1, ...(how === "take" ? [] : [byte]));
          const whole = Uint8Array.from(bytes);
          let expected: unknown;
          try {
            expected = fromBinary<typeof UploadRequestSchema | typeof DownloadResponseSchema>(schema, whole, {
              readUnknownFields: false,
            }).message;
          } catch {
            assert.throws(() => codec.decode(whole));
            continue;
          }
          assert.deepEqual(codec.decode(whole), expected);
        }
      }),
      { numRuns: 5000 },
    );
  });

  it("in the form that clients write them are not left to protobuf-es", () => {
    const { file, fileEnd: end } = UploadRequestSchema.field;
    const numbers = { file: file.number, fileEnd: end.number };
    const value = create(EntryHeaderSchema, {
      path: "d/f",
      type: EntryType.FILE,
      size: 2n ** 40n,
      mode: 0o644,
      mtime: { seconds: 1_700_000_000n, nanos: 999_999_999 },
      linkTarget: "to",
      try: 1,
      crc32c: 0xffff_ffff,
      offset: 7n,
    });
    assert.equal(decodeEntry(uploadCodec.encode({ case: "file", value }), numbers)?.value.$typeName, EntryHeaderSchema.typeName);
    const endValue = create(FileEndSchema, { size: 2n ** 40n, crc32c: 1 });
    assert.deepEqual(decodeEntry(uploadCodec.encode({ case: "fileEnd", value: endValue }), numbers), { case: "fileEnd", value: endValue });
  });
});

describe("the writer of messages", () => {
  it("writes what protobuf-es and our reader read, batch after batch", () => {
    fc.assert(
      fc.property(fc.array(fc.array(message, { maxLength: 12 }), { maxLength: 6 }), (batches) => {
        const write = createMessageWriter(uploadCodec, MAX_CHUNK);
        // Copies, as what a batch gave is written over by the next one.
        const buffers = batches.flatMap((batch) => write(batch).map((buffer) => Buffer.from(buffer)));
        const expected = plain(cut(batches.flat()));
        assert.deepEqual(plain(decode(Buffer.concat(buffers))), expected);
        const reader = createMessageReader(uploadCodec, { maxChunkBytes: MAX_CHUNK, maxMessageBytes: 1_000_000 });
        const read: UploadMessage[] = [];
        for (const buffer of buffers) reader.push(buffer, read);
        reader.end();
        const sizes = (messages: readonly UploadMessage[]) =>
          messages.reduce((sum, each) => sum + (each.case === "chunk" ? each.value.length : 0), 0);
        assert.equal(sizes(read), sizes(batches.flat()));
        assert.deepEqual(
          plain(read.filter((each) => each.case !== "chunk")),
          plain(batches.flat().filter((each) => each.case !== "chunk")),
        );
      }),
      { numRuns: 150 },
    );
  });

  it("doesn't copy large chunks", () => {
    const value = new Uint8Array(100_000);
    const buffers = createMessageWriter(uploadCodec)([{ case: "chunk", value }]);
    assert.equal(buffers.length, 2);
    assert.equal(buffers[1], value);
  });

  it("gathers small files in one buffer", () => {
    const write = createMessageWriter(uploadCodec);
    const messages: UploadMessage[] = [];
    for (let i = 0; i < 10; i++) {
      messages.push({ case: "file", value: create(EntryHeaderSchema, { path: `f${i}` }) });
      messages.push({ case: "chunk", value: new Uint8Array(4096) });
      messages.push({ case: "fileEnd", value: create(FileEndSchema, { size: 4096n }) });
    }
    assert.equal(write(messages).length, 1);
  });
});
