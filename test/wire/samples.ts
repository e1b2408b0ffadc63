/** Arbitrary messages for the codec's properties, on the level of protobuf's fields so that odd forms come up. */
import fc from "fast-check";

/** A varint in `extra` bytes more than it needs, 10 in all at the most, as protobuf allows. */
export function varint(value: bigint, extra = 0): number[] {
  const bytes: number[] = [];
  let rest = value;
  do {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  } while (rest > 0n);
  for (let i = 0; i < extra && bytes.length < 10; i++) bytes.push(0x80);
  bytes[bytes.length - 1] = (bytes.at(-1) as number) & 0x7f;
  return bytes;
}

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

const extras = fc.integer({ min: 0, max: 2 });
/** For lengths: up to the ten bytes that the longest varint has. */
const lengthExtras = fc.constantFrom(0, 0, 0, 1, 2, 4, 9);

function field(number: number, type: number, value: number[], tagExtra: number): number[] {
  return [...varint((BigInt(number) << 3n) | BigInt(type), tagExtra), ...value];
}

function delimited(bytes: readonly number[], extra: number): number[] {
  return [...varint(BigInt(bytes.length), extra), ...bytes];
}

const anyBytes = fc.uint8Array({ maxLength: 300 }).map((bytes) => [...bytes]);

/** A field that no version of the protocol has. */
const unknownField = fc
  .record({
    number: fc.integer({ min: 20, max: 5000 }),
    tagExtra: extras,
    type: fc.constantFrom(VARINT, FIXED64, BYTES, FIXED32),
    value: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    bytes: anyBytes,
    extra: lengthExtras,
  })
  .map(({ number, tagExtra, type, value, bytes, extra }) => {
    if (type === VARINT) return field(number, type, varint(value, extra), tagExtra);
    if (type === BYTES) return field(number, type, delimited(bytes, extra), tagExtra);
    return field(
      number,
      type,
      Array.from({ length: type === FIXED64 ? 8 : 4 }, (_, i) => bytes[i] ?? 0),
      tagExtra,
    );
  });

/** `chunk`: field 3 of both messages. */
const chunkField = fc
  .record({ bytes: anyBytes, extra: lengthExtras, tagExtra: extras })
  .map(({ bytes, extra, tagExtra }) => field(3, BYTES, delimited(bytes, extra), tagExtra));

/** `file` with a path and a size, field 2 of both messages. */
const fileField = fc
  .record({ path: fc.string({ unit: "binary", maxLength: 40 }), size: fc.bigInt({ min: 0n, max: 2n ** 53n }), extra: lengthExtras })
  .map(({ path, size, extra }) =>
    field(
      2,
      BYTES,
      delimited(
        [...field(1, BYTES, delimited([...Buffer.from(path.toWellFormed())], extra), 0), ...field(3, VARINT, varint(size), 0)],
        extra,
      ),
      0,
    ),
  );

/** `skip`, a varint of up to ten bytes, field 4 of UploadRequest. */
const skipField = fc
  .record({ value: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), extra: extras })
  .map(({ value, extra }) => field(4, VARINT, varint(value, extra), 0));

/** The bytes of one UploadRequest: mostly as a client sends it, else with any fields in any order. */
export const uploadBytes: fc.Arbitrary<Uint8Array> = fc
  .oneof(
    { weight: 3, arbitrary: fc.uint8Array({ maxLength: 3000 }).map((bytes) => field(3, BYTES, delimited([...bytes], 0), 0)) },
    { weight: 2, arbitrary: fileField },
    {
      weight: 2,
      arbitrary: fc.array(fc.oneof(chunkField, fileField, skipField, unknownField), { maxLength: 5 }).map((fields) => fields.flat()),
    },
  )
  .map((bytes) => Uint8Array.from(bytes));

/** A gRPC message: flags, length, bytes. */
export function frame(bytes: Uint8Array, flags = 0, length: number = bytes.length): Uint8Array {
  const framed = Buffer.alloc(5 + bytes.length);
  framed[0] = flags;
  framed.writeUInt32BE(length, 1);
  framed.set(bytes, 5);
  return framed;
}

/** Splits bytes into packets at the places that `cuts` (from 0 to 1) say. */
export function split(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const places = [...cuts.map((cut) => Math.floor(cut * bytes.length)), bytes.length].sort((a, b) => a - b);
  let from = 0;
  return places.map((place) => bytes.subarray(from, (from = place)));
}
