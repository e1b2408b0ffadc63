import assert from "node:assert/strict";
import { fromBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import fc from "fast-check";
import { DownloadResponseSchema, UploadRequestSchema } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { type Codec, downloadCodec, uploadCodec } from "../../src/wire/codec.ts";
import type { DownloadMessage, UploadMessage } from "../../src/wire/messages.ts";
import { createMessageReader } from "../../src/wire/reader.ts";
import { failureOf } from "../../src/wire/status.ts";
import { frame, split, uploadBytes, varint } from "./samples.ts";

const limits = { maxChunkBytes: 4096, maxMessageBytes: 8192 };

type AnyMessage = UploadMessage | DownloadMessage;

function read(packets: readonly Uint8Array[], end = true, codec: Codec<AnyMessage> = uploadCodec as Codec<AnyMessage>): AnyMessage[] {
  const reader = createMessageReader(codec, limits);
  const messages: AnyMessage[] = [];
  for (const packet of packets) reader.push(packet, messages);
  if (end) reader.end();
  return messages;
}

/** Chunks that follow each other as one, as where they are cut says nothing. */
function joined(messages: readonly AnyMessage[]): AnyMessage[] {
  const result: AnyMessage[] = [];
  for (const message of messages) {
    const last = result.at(-1);
    if (message.case === "chunk" && last?.case === "chunk") last.value = Uint8Array.from([...last.value, ...message.value]);
    else if (message.case === "chunk") result.push({ case: "chunk", value: Uint8Array.from(message.value) });
    else result.push(message);
  }
  return result;
}

function failure(packets: readonly Uint8Array[], end = false, codec: Codec<AnyMessage> = uploadCodec as Codec<AnyMessage>): ConnectError {
  try {
    read(packets, end, codec);
  } catch (error) {
    assert(error instanceof ConnectError);
    return error;
  }
  return assert.fail("was read");
}

describe("the reader of messages", () => {
  it("gives what protobuf-es gives, wherever packets cut the bytes", () => {
    fc.assert(
      fc.property(
        fc.array(uploadBytes, { maxLength: 8 }),
        fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 12 }),
        (messages, cuts) => {
          const expected = messages.map((bytes) => fromBinary(UploadRequestSchema, bytes, { readUnknownFields: false }).message);
          const packets = split(Buffer.concat(messages.map((bytes) => frame(bytes))), cuts);
          assert.deepEqual(joined(read(packets)), joined(expected));
        },
      ),
      { numRuns: 1500 },
    );
  });

  it("gives the same when every byte is a packet of its own", () => {
    fc.assert(
      fc.property(fc.array(uploadBytes, { maxLength: 4 }), (messages) => {
        const whole = Buffer.concat(messages.map((bytes) => frame(bytes)));
        assert.deepEqual(joined(read(Array.from(whole, (byte) => Uint8Array.of(byte)))), joined(read([whole])));
      }),
      { numRuns: 200 },
    );
  });

  for (const [stream, schema, codec] of [
    ["an upload", UploadRequestSchema, uploadCodec as Codec<AnyMessage>],
    ["a download", DownloadResponseSchema, downloadCodec as Codec<AnyMessage>],
  ] as const) {
    it(`refuses what protobuf-es refuses and takes what it takes, for any bytes in ${stream}`, () => {
      fc.assert(
        fc.property(
          fc.oneof(fc.uint8Array({ maxLength: 60 }), uploadBytes),
          fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 4 }),
          (bytes, cuts) => {
            let expected: AnyMessage | undefined;
            try {
              expected = (fromBinary(schema, bytes, { readUnknownFields: false }) as { message: AnyMessage }).message;
            } catch {
              const error = failure(split(frame(bytes), cuts), false, codec);
              assert.equal(error.code, Code.InvalidArgument);
              assert.equal(failureOf(error).reason, "MESSAGE_INVALID");
              return;
            }
            assert.deepEqual(joined(read(split(frame(bytes), cuts), true, codec)), joined([expected]));
          },
        ),
        { numRuns: 3000 },
      );
    });
  }

  it("hands chunks on as views of the packets", () => {
    const packet = frame(Uint8Array.of(0x1a, 3, 7, 8, 9));
    const [message] = read([packet]);
    assert(message?.case === "chunk");
    assert.equal(message.value.buffer, packet.buffer);
    const body = new Uint8Array(1000);
    const long = frame(Uint8Array.from([0x1a, ...varint(1000n), ...body]));
    const second = read([long.subarray(0, 100), long.subarray(100)])[1];
    assert(second?.case === "chunk");
    assert.equal(second.value.buffer, long.buffer);
  });

  it("hands on what has come of a chunk before the rest comes", () => {
    const messages = read([frame(Uint8Array.from([0x1a, ...varint(4000n), 1, 2, 3]), 0, 4003)], false);
    assert.deepEqual(joined(messages), [{ case: "chunk", value: Uint8Array.of(1, 2, 3) }]);
  });

  it("gives an empty chunk, and a message without fields", () => {
    assert.deepEqual(joined(read([frame(Uint8Array.of(0x1a, 0)), frame(new Uint8Array(0))])), [
      { case: "chunk", value: new Uint8Array(0) },
      { case: undefined },
    ]);
  });

  it("takes the last of two chunks in one message", () => {
    assert.deepEqual(joined(read([frame(Uint8Array.of(0x1a, 1, 5, 0x1a, 2, 6, 7))])), [{ case: "chunk", value: Uint8Array.of(6, 7) }]);
  });

  it("refuses lengths over the limit by their first bytes, whatever packets cut", () => {
    for (const length of [8193, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
      const prefix = frame(new Uint8Array(0), 0, length);
      assert.equal(failureOf(failure([prefix])).reason, "MESSAGE_INVALID");
      assert.equal(failureOf(failure([prefix.subarray(0, 3), prefix.subarray(3)])).reason, "MESSAGE_INVALID");
    }
  });

  it("refuses a chunk over its limit when its length has come", () => {
    const head = frame(Uint8Array.from([0x1a, ...varint(4097n)]), 0, 4100);
    assert.match(failure([head]).message, /4097 bytes is larger than the limit of 4096/);
    const odd = Uint8Array.from([...varint(0x1an, 1), ...varint(4097n), ...new Uint8Array(4097)]);
    assert.match(failure([frame(odd)]).message, /4097 bytes is larger than the limit of 4096/);
    assert.equal(read([frame(Uint8Array.from([0x1a, ...varint(4096n), ...new Uint8Array(4096)]))]).length, 1);
  });

  it("refuses compressed messages and unknown flags as gRPC says", () => {
    assert.equal(failure([frame(Uint8Array.of(0x1a, 0), 1)]).code, Code.Internal);
    assert.equal(failure([frame(Uint8Array.of(0x1a, 0), 0x80)]).code, Code.Internal);
  });

  it("says so when the stream ends in the middle of a message", () => {
    const whole = frame(Uint8Array.from([0x1a, ...varint(300n), ...new Uint8Array(300)]));
    for (let length = 1; length < whole.length; length++)
      assert.equal(failureOf(failure([whole.subarray(0, length)], true)).reason, "MESSAGE_INVALID");
    assert.equal(joined(read([whole])).length, 1);
  });
});
