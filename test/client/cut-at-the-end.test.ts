/** A connection that is lost when all of an answer has arrived, and not all of it was read. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { DownloadRequestSchema } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { createHttp2Transfers } from "../../src/client/transfers-http2.ts";
import { clientOf, startTestServer, TOKEN, toRun, until, uploadMessages } from "../server/support.ts";

/** More than a reader takes ahead, and less than the window, so that all of it is sent to one that doesn't read. */
const BYTES = 3 * 1024 * 1024;

describe("a connection that is lost behind the end of a download", () => {
  it("fails it as one that is lost earlier does, when its reader has not got all of it", async () => {
    await using server = await startTestServer();
    await clientOf(server.url).upload(uploadMessages({ run: "r" }, { a: "x".repeat(BYTES) }));
    const sockets: Socket[] = [];
    const line = createServer((client) => {
      const upstream = connect(Number(new URL(server.url).port), "127.0.0.1");
      sockets.push(client, upstream);
      for (const socket of [client, upstream]) socket.on("error", () => {});
      client.pipe(upstream).pipe(client);
    }).listen(0, "127.0.0.1");
    await once(line, "listening");
    const transfers = createHttp2Transfers({ url: `http://127.0.0.1:${(line.address() as { port: number }).port}`, token: TOKEN });

    let finished = false;
    async function read(): Promise<void> {
      let cut = false;
      for await (const batch of transfers.download(create(DownloadRequestSchema, { project: "main", reference: toRun("r") }))) {
        finished ||= batch.some((message) => message.case === "finish");
        if (cut) continue;
        cut = true;
        await until("the server has sent all", () =>
          server.log.some(({ msg, method }) => msg === "call" && String(method).endsWith("/Download")),
        );
        // What is on its way comes in.
        await new Promise((resolve) => setTimeout(resolve, 100));
        for (const socket of sockets) socket.destroy();
        await until("the connection is gone", () => sockets.every((socket) => socket.destroyed));
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
    await assert.rejects(read(), (error) => ConnectError.from(error).code === Code.Unavailable);
    assert.equal(finished, false);
    await transfers.close();
    line.close();
  });
});
