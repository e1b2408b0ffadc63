import assert from "node:assert/strict";
import { create, toBinary } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { DownloadRequestSchema, DownloadResponseSchema, UploadRequestSchema } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { EntryType } from "../../gen/ts/dstack/artifacts/v1/entries_pb.ts";
import { downloadCodec, uploadCodec, wholeCodec } from "../../src/wire/codec.ts";
import { createMessageReader } from "../../src/wire/reader.ts";
import { failureOf } from "../../src/wire/status.ts";
import { frame, say, toRun } from "../server/support.ts";
import { createRandom, damage, packets } from "./fuzz.ts";
import { LONG } from "./memory.ts";

const INPUTS = LONG ? 10_000_000 : 100_000;
const LIMITS = { maxChunkBytes: 64, maxMessageBytes: 512 };
/** What a reader may ever hand on of one input, in bytes: no more than came. */
const encode = (message: ReturnType<typeof say>) => frame(toBinary(UploadRequestSchema, create(UploadRequestSchema, message as never)));

const UPLOAD = Buffer.concat(
  [
    say("start", { uploadId: "0123456789abcdef", project: "p", target: { case: "tag", value: "t" } }),
    say("file", { path: "a/b", type: EntryType.FILE, size: 7n, mode: 0o644, mtime: { seconds: 1n, nanos: 2 }, try: 1 }),
    say("chunk", Buffer.from("abc")),
    say("skip", 4n),
    say("fileEnd", { size: 7n, crc32c: 5 }),
    say("finish", { files: 1n, bytes: 7n }),
  ].map(encode),
);
const DOWNLOAD = Buffer.concat(
  [
    { case: "start", value: { run: "r", commit: 3n } },
    { case: "file", value: { path: "a", type: EntryType.LINK, linkTarget: "b" } },
    { case: "chunk", value: Buffer.from("abc") },
    { case: "fileEnd", value: { size: 3n, crc32c: 7 } },
    { case: "finish", value: { files: 1n, bytes: 3n } },
  ].map((message) => frame(toBinary(DownloadResponseSchema, create(DownloadResponseSchema, { message } as never)))),
);
const held = Array.from({ length: 5 }, (_, i) => ({ path: `f${i}`, length: BigInt(i) }));
const REQUEST = frame(
  toBinary(DownloadRequestSchema, create(DownloadRequestSchema, { reference: toRun("r"), range: { offset: 1n }, held })),
);

describe("the decoder of streams", function () {
  this.timeout(LONG ? 3_600_000 : 60_000);
  const SEED = Number(process.env["DSTACK_ARTIFACTS_HOSTILE_SEED"] ?? Date.now() % 2 ** 31);

  it(`takes or refuses ${INPUTS} damaged inputs, whatever they are`, () => {
    const random = createRandom(SEED);
    const targets = [
      { valid: UPLOAD, codec: uploadCodec },
      { valid: DOWNLOAD, codec: downloadCodec },
      { valid: REQUEST, codec: wholeCodec(DownloadRequestSchema) },
    ] as const;
    let refused = 0;
    for (let i = 0; i < INPUTS; i++) {
      const { valid, codec } = targets[random(targets.length)] as (typeof targets)[number];
      const bytes = damage(valid, random);
      const reader = createMessageReader(codec as never, LIMITS);
      const batch: { case?: string; value?: unknown }[] = [];
      try {
        for (const packet of packets(bytes, random)) reader.push(packet, batch as never);
        reader.end();
      } catch (error) {
        refused++;
        const isKnown =
          error instanceof ConnectError && (failureOf(error).reason === "MESSAGE_INVALID" || /flags|compressed/.test(error.message));
        if (!isKnown) assert.fail(`seed ${SEED}, input ${i}, ${bytes.toString("hex")}: ${error}`);
      }
      let chunkBytes = 0;
      for (const message of batch) if (message.case === "chunk") chunkBytes += (message.value as Uint8Array).length;
      if (chunkBytes > bytes.length) assert.fail(`seed ${SEED}, input ${i}: ${chunkBytes} bytes of chunks out of ${bytes.length}`);
    }
    assert.ok(refused > INPUTS / 4 && refused < INPUTS, `${refused} of ${INPUTS}`);
    if (LONG) console.log(`      seed ${SEED}: ${refused} of ${INPUTS} refused, the others taken`);
  });
});
