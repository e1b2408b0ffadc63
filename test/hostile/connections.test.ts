/** What connections leave behind when they have nothing to do, and when they are gone. */
import assert from "node:assert/strict";
import { once } from "node:events";
import http2 from "node:http2";
import v8 from "node:v8";
import { openCall, rawCall, startTestServer, statusOf, type TestServer, until, withSession } from "../server/support.ts";

const CONNECTIONS = 20;
const NOTHING = Buffer.alloc(5);

describe("connections", () => {
  let server: TestServer;
  afterEach(() => server[Symbol.asyncDispose]());

  it("are closed after a while without a call, counted from the end of the last", async () => {
    server = await startTestServer({ limits: { idleTimeoutMs: 300 } });
    await withSession(server.url, async (session) => {
      const closed = once(session, "goaway");
      const { stream, answer } = openCall(session, "Upload");
      stream.write(NOTHING.subarray(0, 1));
      await new Promise((resolve) => setTimeout(resolve, 700));
      stream.end(NOTHING.subarray(1));
      assert.equal(statusOf(await answer).reason, "MESSAGE_INVALID", "a call that goes on is none of its business");
      await closed;
    });
  });

  it("that are gone are forgotten at once, and not when they would have been idle for long", async () => {
    server = await startTestServer();
    const Session = await serverSessions();
    const before = v8.queryObjects(Session, { format: "count" });
    for (let i = 0; i < CONNECTIONS; i++) {
      await withSession(server.url, async (session) => {
        await rawCall(session, "GetServerInfo", NOTHING);
        openCall(session, "Upload").stream.write(NOTHING);
      });
    }
    await until("they are forgotten", () => v8.queryObjects(Session, { format: "count" }) - before < CONNECTIONS / 4);
  });
});

/** What makes Node's HTTP/2 sessions of servers, which it doesn't name. */
async function serverSessions(): Promise<(...args: unknown[]) => unknown> {
  const probe = http2.createServer();
  const found = once(probe, "session");
  probe.listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as { port: number };
  return withSession(`http://127.0.0.1:${port}`, async () => {
    const [session] = (await found) as [http2.ServerHttp2Session];
    probe.close();
    return session.constructor as (...args: unknown[]) => unknown;
  });
}
