/** Both ends of the hot path over a Unix socket, with handlers that a test supplies. */

import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Http2Server, type ServerHttp2Session } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Transfers } from "../../src/client/transfers.ts";
import { createHttp2Transfers } from "../../src/client/transfers-http2.ts";
import { createHotPath, type HotPathHandlers } from "../../src/server/hot-path.ts";
import { CONNECTION_WINDOW_BYTES, MAX_FRAME_BYTES, STREAM_WINDOW_BYTES } from "../../src/wire/limits.ts";

export interface Ends {
  readonly server: Http2Server;
  readonly sessions: Set<ServerHttp2Session>;
  readonly transfers: Transfers;
  readonly url: string;
  readonly socket: string;
  close(): Promise<void>;
}

const refuse = async (): Promise<never> => {
  throw new ConnectError("not in this test", Code.Unimplemented);
};

export async function startEnds(handlers: Partial<HotPathHandlers>): Promise<Ends> {
  const folder = await mkdtemp(join(tmpdir(), "wire-"));
  const socket = join(folder, "s.sock");
  const server = createServer({ settings: { initialWindowSize: STREAM_WINDOW_BYTES, maxFrameSize: MAX_FRAME_BYTES } });
  const sessions = new Set<ServerHttp2Session>();
  server.on("session", (session) => {
    session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
    session.on("error", () => {});
  });
  const hotPath = createHotPath({
    upload: refuse,
    // biome-ignore lint/correctness/useYield: it refuses before it has anything to give
    download: async function* () {
      await refuse();
    },
    toError: (error) => ConnectError.from(error),
    ...handlers,
  });
  server.on("stream", (stream, headers) => {
    if (!hotPath(stream, headers)) stream.respond({ ":status": 404 }, { endStream: true });
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  const url = `unix://${socket}`;
  const transfers = createHttp2Transfers({ url });
  return {
    server,
    sessions,
    transfers,
    url,
    socket,
    async close() {
      await transfers.close();
      for (const session of sessions) session.destroy();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
      await rm(folder, { recursive: true });
    },
  };
}
