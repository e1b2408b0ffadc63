/** The other end of raw-tcp-server. */
import { once } from "node:events";
import { connect } from "node:net";
import type { Role } from "../worker.ts";

export async function start({ url }: { url: string }): Promise<Role> {
  const target = new URL(url);
  return {
    async run({ direction, bytes, chunkBytes }) {
      const socket = target.protocol === "unix:" ? connect(target.pathname) : connect(Number(target.port), target.hostname);
      await once(socket, "connect");
      const request = Buffer.alloc(16);
      request.writeUInt32BE(direction === "up" ? 0 : 1, 0);
      request.writeUInt32BE(chunkBytes, 4);
      request.writeBigUInt64BE(BigInt(bytes), 8);
      socket.write(request);
      let got = 0;
      socket.on("data", (packet) => void (got += packet.length));
      const ended = once(socket, "end");
      if (direction === "up") {
        const chunk = Buffer.alloc(chunkBytes, 1);
        for (let left = bytes; left > 0; left -= chunkBytes) {
          if (!socket.write(chunk)) await new Promise((resolve) => socket.once("drain", resolve));
        }
      }
      await ended;
      socket.destroy();
      if (got !== (direction === "up" ? 1 : bytes)) throw new Error(`${got} bytes of ${bytes} arrived`);
    },
    async close() {},
  };
}
