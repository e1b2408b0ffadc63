/** A bare TCP (or Unix) socket: 16 bytes of request say the direction and how many bytes follow, either way. */
import { createServer, type Socket } from "node:net";
import type { Role } from "../worker.ts";
import { listen } from "./endpoint.ts";

const REQUEST_BYTES = 16;

export async function start({ tcp = false }: { tcp?: boolean }): Promise<Role> {
  const server = createServer((socket) => void socket.once("data", (first) => void serve(socket, first as Buffer)));
  const endpoint = await listen(server, tcp);
  return {
    url: endpoint.url,
    async close() {
      server.close();
      await endpoint.close();
    },
  };
}

async function serve(socket: Socket, first: Buffer): Promise<void> {
  const up = first.readUInt32BE(0) === 0;
  const chunkBytes = first.readUInt32BE(4);
  const bytes = Number(first.readBigUInt64BE(8));
  if (up) {
    let left = bytes - (first.length - REQUEST_BYTES);
    if (left === 0) socket.end("k");
    socket.on("data", (packet) => {
      left -= packet.length;
      if (left === 0) socket.end("k");
    });
    return;
  }
  const chunk = Buffer.alloc(chunkBytes, 1);
  for (let left = bytes; left > 0; left -= chunkBytes) {
    if (!socket.write(chunk)) await new Promise((resolve) => socket.once("drain", resolve));
  }
  socket.end();
}
