/** A bare node:http2 client with the same windows. */
import { once } from "node:events";
import { connect } from "node:http2";
import { connect as connectSocket } from "node:net";
import { CONNECTION_WINDOW_BYTES, MAX_FRAME_BYTES, STREAM_WINDOW_BYTES } from "../../src/wire/limits.ts";
import type { Role } from "../worker.ts";

export async function start({ url }: { url: string }): Promise<Role> {
  const settings = { initialWindowSize: STREAM_WINDOW_BYTES, maxFrameSize: MAX_FRAME_BYTES };
  const session = url.startsWith("unix:")
    ? connect("http://localhost", { settings, createConnection: () => connectSocket(new URL(url).pathname) })
    : connect(url, { settings });
  await once(session, "connect");
  session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
  return {
    async run({ direction, bytes, chunkBytes }) {
      let got = 0;
      if (direction === "up") {
        const stream = session.request({ ":method": "PUT", ":path": "/" });
        const answer = new Promise<string>((resolve) => {
          let text = "";
          stream.on("data", (packet) => void (text += packet));
          stream.on("end", () => resolve(text));
        });
        const chunk = Buffer.alloc(chunkBytes, 1);
        for (let left = bytes; left > 0; left -= chunkBytes) {
          if (!stream.write(chunk)) await new Promise((resolve) => stream.once("drain", resolve));
        }
        stream.end();
        got = Number(await answer);
      } else {
        const stream = session.request({ ":path": `/${bytes}x${chunkBytes}` });
        stream.on("data", (packet: Buffer) => void (got += packet.length));
        await once(stream, "end");
      }
      if (got !== bytes) throw new Error(`${got} bytes of ${bytes} arrived`);
    },
    async close() {
      session.close();
    },
  };
}
