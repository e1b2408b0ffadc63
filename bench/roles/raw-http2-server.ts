/** A bare node:http2 server with the same windows: counts a request's bytes, or answers with as many as the path says. */
import { createServer, type ServerHttp2Stream } from "node:http2";
import { CONNECTION_WINDOW_BYTES, MAX_FRAME_BYTES, STREAM_WINDOW_BYTES } from "../../src/wire/limits.ts";
import type { Role } from "../worker.ts";
import { listen } from "./endpoint.ts";

export async function start({ tcp = false }: { tcp?: boolean }): Promise<Role> {
  const server = createServer({ settings: { initialWindowSize: STREAM_WINDOW_BYTES, maxFrameSize: MAX_FRAME_BYTES } });
  server.on("session", (session) => session.setLocalWindowSize(CONNECTION_WINDOW_BYTES));
  server.on("stream", (stream, headers) => {
    if (headers[":method"] === "PUT") discard(stream);
    else void generate(stream, (headers[":path"] as string).slice(1).split("x").map(Number) as [number, number]);
  });
  const endpoint = await listen(server, tcp);
  return {
    url: endpoint.url,
    async close() {
      server.close();
      await endpoint.close();
    },
  };
}

function discard(stream: ServerHttp2Stream): void {
  let bytes = 0;
  stream.on("data", (packet: Buffer) => void (bytes += packet.length));
  stream.on("end", () => {
    stream.respond({ ":status": 200 });
    stream.end(String(bytes));
  });
}

async function generate(stream: ServerHttp2Stream, [bytes, chunkBytes]: [number, number]): Promise<void> {
  const chunk = Buffer.alloc(chunkBytes, 1);
  stream.respond({ ":status": 200 });
  for (let left = bytes; left > 0; left -= chunkBytes) {
    if (!stream.write(chunk)) await new Promise((resolve) => stream.once("drain", resolve));
  }
  stream.end();
}
