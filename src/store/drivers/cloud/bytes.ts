/** Bodies on their way to a store and back. */
import { Readable } from "node:stream";
import type { ByteParts, ReadOptions } from "../../driver.ts";

/** What a read should ask a cloud for: a request costs a millisecond of CPU time, and the store's latency. */
export const CLOUD_READ_BYTES = 8 * 1024 * 1024;
/** Below this, in bytes, joining parts costs less than a stream does. */
const JOINED_BELOW = 64 * 1024;

export function sizeOf(parts: ByteParts): number {
  return parts.reduce((size, part) => size + part.length, 0);
}

/** What SDKs send best: a small body in one piece, a large one as a stream that hands its parts on as they are. */
export function bodyOf(parts: ByteParts, size: number): Buffer | Readable {
  if (size < JOINED_BELOW) return Buffer.concat(parts);
  return streamOf(parts);
}

/** The parts, none of them copied. */
export function streamOf(parts: ByteParts): Readable {
  let next = 0;
  return new Readable({
    read() {
      while (next < parts.length) {
        const part = parts[next++] as Uint8Array;
        // An empty chunk would make the reader wait for the next call.
        if (part.length > 0 && !this.push(part)) return;
      }
      this.push(null);
    },
  });
}

/** Thrown when an answer's body has another size than its header said. */
export class CutOffError extends Error {
  constructor(received: number, expected: number) {
    super(`the answer was cut off: ${received} of ${expected} bytes arrived`);
  }
}

/** Reads a body of a known size into one buffer; rejects with the stream's error, or a CutOffError. A chunk that is all of it isn't copied. */
export function collect(body: Readable, size: number, allocate: ReadOptions["allocate"] = Buffer.allocUnsafeSlow): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    let bytes: Uint8Array | undefined;
    let received = 0;
    body.on("data", (chunk: Uint8Array) => {
      const end = received + chunk.length;
      if (end > size) body.destroy(new CutOffError(end, size));
      else if (chunk.length === size) bytes = chunk;
      else {
        bytes ??= allocate(size).subarray(0, size);
        bytes.set(chunk, received);
      }
      received = end;
    });
    body.on("error", reject);
    // An error is costly to make, and each body is closed in the end.
    body.on("close", () => body.readableEnded || reject(new CutOffError(received, size)));
    body.on("end", () => (received === size ? resolve(bytes ?? Buffer.alloc(0)) : reject(new CutOffError(received, size))));
  });
}

/** Reads a small body of unknown size, such as an error's. */
export async function collectSmall(body: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** As the stores write CRC32C: 4 bytes, big-endian, in Base64. */
export function base64OfCrc32c(crc: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc);
  return bytes.toString("base64");
}
