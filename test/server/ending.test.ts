import { once } from "node:events";
import { connect } from "node:net";
import { startTestServer, until } from "./support.ts";

/** What an HTTP/2 client says first: the preface, and SETTINGS of which none differs from the default. */
const HELLO = Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])]);

describe("a server that has closed", () => {
  it("has left no connection open, not even one whose peer never closes it", async () => {
    const server = await startTestServer();
    const { hostname, port } = new URL(server.url);
    const peer = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
    let broken = false;
    peer.on("error", () => {
      broken = true;
    });
    peer.write(HELLO);
    await once(peer, "data");
    await server[Symbol.asyncDispose]();
    await until("the connection is gone from both ends", () => {
      peer.write(Buffer.alloc(1));
      return broken;
    });
    peer.destroy();
  });
});
