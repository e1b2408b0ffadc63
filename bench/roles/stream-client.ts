/** The library's client with one file that never touches this side's disk: made of one buffer, and thrown away as it comes. */
import { createClient } from "../../src/index.ts";
import type { Role } from "../worker.ts";

export async function start({ url }: { url: string }): Promise<Role> {
  const client = createClient({ url });
  return {
    async run({ direction, bytes, chunkBytes, run }) {
      let done = 0;
      if (direction === "up") {
        done = (await client.uploadBytes({ source: repeated(bytes, chunkBytes), artifactPath: "file", run: run as string })).bytes;
      } else {
        for await (const chunk of client.read({ run: run as string, artifactPath: "file" })) done += chunk.length;
      }
      if (done !== bytes) throw new Error(`${done} bytes of ${bytes} arrived`);
    },
    close: () => client.close(),
  };
}

async function* repeated(bytes: number, chunkBytes: number): AsyncGenerator<Uint8Array, void, undefined> {
  const chunk = new Uint8Array(chunkBytes).fill(1);
  for (let left = bytes; left > 0; left -= chunkBytes) yield chunk.subarray(0, Math.min(left, chunkBytes));
}
