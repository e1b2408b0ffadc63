/** Stands between a client and a server, and can break and damage what it carries. */
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";

export interface Proxy extends AsyncDisposable {
  readonly url: string;
  /** Bytes that went to the server and came from it. */
  readonly sent: number;
  readonly received: number;
  /** Called with both numbers when bytes pass; may call `cut`. */
  onBytes: (sent: number, received: number) => void;
  /** Breaks all connections. */
  cut(): void;
  /** Turns one bit in the next `times` packets that hold `bytes`. */
  damage(bytes: Uint8Array, times: number): void;
}

export async function proxy(folder: string, serverUrl: string): Promise<Proxy> {
  const sockets = new Set<Socket>();
  const target = new URL(serverUrl).pathname;
  const path = join(folder, "proxy.sock");
  const state = { sent: 0, received: 0 };
  let marker: Uint8Array = new Uint8Array(0);
  let damages = 0;
  const server: Server = createServer((client) => {
    const upstream = connect(target);
    for (const [from, to, key] of [
      [client, upstream, "sent"],
      [upstream, client, "received"],
    ] as const) {
      sockets.add(from);
      from.on("data", (bytes: Buffer) => {
        state[key] += bytes.length;
        const found = damages > 0 ? bytes.indexOf(marker) : -1;
        if (found >= 0) {
          damages--;
          bytes.writeUInt8(bytes.readUInt8(found) ^ 1, found);
        }
        if (!to.write(bytes)) {
          from.pause();
          to.once("drain", () => from.resume());
        }
        self.onBytes(state.sent, state.received);
      });
      from.on("error", () => {});
      from.on("close", () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  });
  server.listen(path);
  await once(server, "listening");
  const self: Proxy = {
    url: `unix://${path}`,
    get sent() {
      return state.sent;
    },
    get received() {
      return state.received;
    },
    onBytes: () => {},
    cut() {
      for (const socket of sockets) socket.destroy();
    },
    damage(bytes, times) {
      marker = bytes;
      damages = times;
    },
    async [Symbol.asyncDispose]() {
      self.cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return self;
}
