/** What messages of the storage format are written into by hand, where there are so many that the generated code takes too long. */

/** A buffer that grows, and the wire types that are needed. */
export class Output {
  bytes: Buffer;
  at = 0;

  constructor(capacity: number) {
    this.bytes = Buffer.allocUnsafe(capacity);
  }

  reserve(length: number): void {
    if (this.at + length <= this.bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.bytes.length * 2, this.at + length));
    this.bytes.copy(larger, 0, 0, this.at);
    this.bytes = larger;
  }

  /** An integer from 0 up to 2^53. */
  varint(value: number): void {
    this.reserve(8);
    let rest = value;
    for (; rest > 0x7fff_ffff; rest = Math.floor(rest / 128)) this.bytes[this.at++] = (rest % 128) | 0x80;
    for (; rest > 0x7f; rest >>>= 7) this.bytes[this.at++] = (rest & 0x7f) | 0x80;
    this.bytes[this.at++] = rest;
  }

  field(tag: number, value: number): void {
    this.varint(tag);
    this.varint(value);
  }

  fixed32(value: number): void {
    this.reserve(4);
    this.at = this.bytes.writeUInt32LE(value, this.at);
  }

  /** A signed integer. */
  fixed64(tag: number, value: bigint): void {
    this.varint(tag);
    this.reserve(8);
    this.at = this.bytes.writeBigInt64LE(value, this.at);
  }

  /** A message that was written elsewhere. */
  message(tag: number, { bytes, at }: Output): void {
    this.field(tag, at);
    this.reserve(at);
    bytes.copy(this.bytes, this.at, 0, at);
    this.at += at;
  }

  text(tag: number, text: string): void {
    this.reserve(text.length * 3);
    this.field(tag, Buffer.byteLength(text));
    this.reserve(text.length * 3);
    this.at += this.bytes.write(text, this.at, "utf8");
  }
}

/** Bytes of an integer field with its tag; one that is 0 is left out. */
export function sizeOf(value: number): number {
  return value ? 1 + varintBytes(value) : 0;
}

/** Bytes of an integer. */
export function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) bytes++;
  return bytes;
}
