import assert from "node:assert/strict";
import { once } from "node:events";
import {
  clientOf,
  frame as message,
  rawCall,
  reasonOf,
  startTestServer,
  statusOf,
  type TestServer,
  TOKEN,
  until,
  withSession,
} from "../server/support.ts";
import { block, FLAG, frame, openPeer, type Peer, PREFACE, pour, requestHeaders, settings, TYPE, uint32 } from "./frames.ts";

const PATH = "/dstack.artifacts.v1.ArtifactsService/Upload";
const LIMITS = { handshakeTimeoutMs: 400, pingBurst: 100, pingsPerSecond: 10, resetBurst: 200, resetsPerSecond: 10 };
const open = (streamId: number, more: readonly (readonly [string, string])[] = [["authorization", `Bearer ${TOKEN}`]]) =>
  frame(TYPE.headers, FLAG.endHeaders, streamId, block(requestHeaders(PATH, more)));

/** What a peer sends after its preface, and that its connection can't survive. */
const FATAL: Readonly<Record<string, () => Uint8Array[]>> = {
  "a frame longer than the limit": () => [frame(TYPE.data, 0, 1, Buffer.alloc(0), 2 ** 24 - 1), Buffer.alloc(64 * 1024)],
  "settings with a length that is no number of settings": () => [frame(TYPE.settings, 0, 0, Buffer.alloc(5))],
  "settings on a stream": () => [frame(TYPE.settings, 0, 1)],
  "an acknowledgement with a payload": () => [frame(TYPE.settings, FLAG.ack, 0, Buffer.alloc(6))],
  "a window beyond all windows": () => [settings(Buffer.concat([Buffer.from([0, 4]), uint32(2 ** 31)]))],
  "a frame size below all sizes": () => [settings(Buffer.concat([Buffer.from([0, 5]), uint32(1)]))],
  "a ping of seven bytes": () => [frame(TYPE.ping, 0, 0, Buffer.alloc(7))],
  "a ping on a stream": () => [frame(TYPE.ping, 0, 1, Buffer.alloc(8))],
  "a push": () => [frame(TYPE.push, FLAG.endHeaders, 1, uint32(2))],
  "data on stream 0": () => [frame(TYPE.data, 0, 0, Buffer.from("x"))],
  "data on a stream that was never opened": () => [frame(TYPE.data, 0, 7, Buffer.from("x"))],
  "a stream with an even number": () => [open(2)],
  "a continuation of nothing": () => [frame(TYPE.continuation, FLAG.endHeaders, 1, Buffer.from("x"))],
  "another frame inside a header block": () => [
    frame(TYPE.headers, 0, 1, block(requestHeaders(PATH))),
    frame(TYPE.ping, 0, 0, Buffer.alloc(8)),
  ],
  "a header block that doesn't decode": () => [frame(TYPE.headers, FLAG.endHeaders, 1, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]))],
  "padding longer than the frame": () => [frame(TYPE.headers, FLAG.endHeaders | FLAG.padded, 1, Buffer.from([200, 1, 2]))],
  "a window that grows beyond 2^31": () => [frame(TYPE.window, 0, 0, uint32(2 ** 31 - 1))],
  "a reset of a stream that was never opened": () => [frame(TYPE.reset, 0, 9, uint32(8))],
  "a window that grows by nothing": () => [frame(TYPE.window, 0, 0, uint32(0))],
};

/** Header blocks that end their stream alone, each on a new one. */
const BAD_REQUESTS: Readonly<Record<string, (readonly [string, string])[]>> = {
  "no path": [
    [":method", "POST"],
    [":scheme", "http"],
  ],
  "no method": [
    [":path", PATH],
    [":scheme", "http"],
  ],
  "an upper-case name": requestHeaders(PATH, [["Upper", "x"]]),
  "a pseudo-header that isn't one": [[":what", "x"], ...requestHeaders(PATH)],
  "a pseudo-header behind others": [["x", "y"], ...requestHeaders(PATH)],
  "two paths": [[":path", PATH], ...requestHeaders(PATH)],
  "a header of HTTP/1.1": requestHeaders(PATH, [["transfer-encoding", "chunked"]]),
  "a line break in a value": requestHeaders(PATH, [["x", "a\r\nb: c"]]),
  "a NUL in a value": requestHeaders(PATH, [["x", "a\0b"]]),
  "a path that is none": [
    [":method", "POST"],
    [":scheme", "http"],
    [":path", "constructor"],
  ],
  "a content length that isn't one": requestHeaders(PATH, [["content-length", "x"]]),
};

/** Paths and schemes at which a lookup in an object would find something. */
const ODD_REQUESTS: readonly (readonly [scheme: string, path: string])[] = [
  ["foo", "constructor"],
  ["foo", "__proto__"],
  ["http", "/__proto__"],
  ["http", "/constructor"],
  ["http", "/../../metrics"],
  ["http", `${PATH}/`],
  ["http", PATH.toUpperCase()],
  ["http", `/${"x".repeat(8_000)}`],
  ["http", "/%00"],
  ["http", "//localhost/metrics"],
  ["http", "*"],
];

const AUTHORITIES = [
  "a%2Fb",
  "tmp%2Fa.sock",
  "h:99999",
  "[::1",
  "a b",
  "",
  "/",
  "\\",
  "a/b?c#d",
  "user:pw@h",
  "h:",
  ":80",
  "%",
  "é",
  "x".repeat(4_000),
  "h:80:80",
  "[",
  "]",
  "..",
  "a,b",
  "0x7f.1",
];

describe("a hostile HTTP/2 peer", () => {
  let server: TestServer;
  before(async () => {
    server = await startTestServer({ limits: LIMITS });
  });
  afterEach("the server serves others", async () => {
    assert.equal(await reasonOf(() => clientOf(server.url).getServerInfo({})), "nothing failed");
  });
  after(() => server[Symbol.asyncDispose]());

  for (const [what, frames] of Object.entries(FATAL)) {
    it(`is cut off for ${what}`, async () => {
      const peer = await openPeer(server.url);
      peer.send(...frames());
      await peer.closed;
    });
  }

  for (const [what, headers] of Object.entries(BAD_REQUESTS)) {
    it(`is refused a request with ${what}`, async () => {
      const peer = await openPeer(server.url);
      peer.send(frame(TYPE.headers, FLAG.endHeaders | FLAG.endStream, 1, block(headers)));
      await until(
        "it is answered",
        () =>
          peer.socket.destroyed ||
          peer.frames.some(({ streamId, type }) => streamId === 1 && (type === TYPE.reset || type === TYPE.headers)),
      );
      peer.socket.destroy();
    });
  }

  it("finds nothing at odd paths, whatever it calls its scheme", async () => {
    for (const [scheme, path] of ODD_REQUESTS) {
      const peer = await openPeer(server.url);
      const headers = requestHeaders(path, [["authorization", `Bearer ${TOKEN}`]]).map(
        ([name, value]) => [name, name === ":scheme" ? scheme : value] as const,
      );
      peer.send(frame(TYPE.headers, FLAG.endHeaders | FLAG.endStream, 1, block(headers)));
      await until("it is answered", () => peer.socket.destroyed || peer.frames.some(({ streamId }) => streamId === 1));
      // 404 is one byte of HPACK's static table.
      const answer = peer.frames.find(({ streamId }) => streamId === 1);
      assert.ok(
        answer === undefined || answer.type === TYPE.reset || answer.payload[0] === 0x8d,
        `${scheme} ${path}: ${answer?.payload.toString("hex")}`,
      );
      peer.socket.destroy();
    }
  });

  it("may call the server what it likes", async () => {
    for (const contentType of ["application/grpc", "application/grpc+json", "application/json"]) {
      for (const authority of AUTHORITIES) {
        const peer = await openPeer(server.url);
        const headers = [
          ...requestHeaders("/dstack.artifacts.v1.ArtifactsService/GetServerInfo", [["authorization", `Bearer ${TOKEN}`]]).filter(
            ([name]) => name !== ":authority" && name !== "content-type",
          ),
        ];
        headers.splice(3, 0, [":authority", authority]);
        headers.push(["content-type", contentType]);
        const body =
          contentType === "application/grpc"
            ? message(Buffer.alloc(0))
            : contentType === "application/json"
              ? Buffer.from("{}")
              : message(Buffer.from("{}"));
        peer.send(frame(TYPE.headers, FLAG.endHeaders, 1, block(headers)), frame(TYPE.data, FLAG.endStream, 1, body));
        await until(`it is answered: ${authority}`, () => peer.socket.destroyed || peer.frames.some(({ streamId }) => streamId === 1));
        const first = peer.frames.find(({ streamId }) => streamId === 1);
        // Answered with 200, or refused by HTTP/2 itself because no authority has such characters.
        assert.ok(
          first?.type === TYPE.reset || first?.payload[0] === 0x88,
          `${authority}: ${first?.type} ${first?.payload.toString("hex")}`,
        );
        peer.socket.destroy();
      }
    }
  });

  it("is cut off for headers without end", async () => {
    const peer = await openPeer(server.url);
    peer.send(frame(TYPE.headers, 0, 1, block(requestHeaders(PATH))));
    const more = frame(TYPE.continuation, 0, 1, block([["x", "y".repeat(8_000)]]));
    const sent = await pour(peer, (i) => (i < 100_000 ? more : undefined));
    await peer.closed;
    assert.ok(sent < 10_000, `${sent} frames of 8 KB`);
  });

  it("is refused headers that are too many or too large", async () => {
    for (const more of [Array.from({ length: 500 }, (_, i) => [`x${i}`, "y"] as const), [["x", "y".repeat(60_000)] as const]]) {
      const peer = await openPeer(server.url);
      const bytes = block(requestHeaders(PATH, more));
      const parts = [];
      for (let at = 0; at < bytes.length; at += 16_000) parts.push(bytes.subarray(at, at + 16_000));
      peer.send(
        ...parts.map((part, i) => frame(i === 0 ? TYPE.headers : TYPE.continuation, i === parts.length - 1 ? FLAG.endHeaders : 0, 1, part)),
      );
      await until(
        "it is refused",
        () => peer.socket.destroyed || peer.frames.some(({ type, streamId }) => type === TYPE.reset && streamId === 1),
      );
      peer.socket.destroy();
    }
  });

  it("is cut off for opening and resetting streams faster than it may", async () => {
    const peer = await openPeer(server.url);
    const sent = await pour(peer, (i) =>
      i < 50_000 ? Buffer.concat([open(2 * i + 1), frame(TYPE.reset, 0, 2 * i + 1, uint32(8))]) : undefined,
    );
    await peer.closed;
    assert.ok(sent < 50_000, String(sent));
    await until("no call is left", async () => (await running(server)) === 0);
  });

  it("is cut off for making the server reset streams", async () => {
    const peer = await openPeer(server.url);
    // A window that grows by nothing, or beyond its end, is an error of the stream, which the server resets.
    const sent = await pour(peer, (i) =>
      i < 20_000 ? Buffer.concat([open(2 * i + 1), frame(TYPE.window, 0, 2 * i + 1, uint32(0))]) : undefined,
    );
    await Promise.race([peer.closed, new Promise((resolve) => setTimeout(resolve, 2_000))]);
    assert.ok(peer.socket.destroyed && sent < 20_000, `${sent} streams`);
    await until("no call is left", async () => (await running(server)) === 0);
  });

  it("is cut off for a flood of pings, and of settings", async () => {
    for (const flood of [frame(TYPE.ping, 0, 0, Buffer.alloc(8)), settings(Buffer.concat([Buffer.from([0, 3]), uint32(100)]))]) {
      const peer = await openPeer(server.url);
      peer.socket.pause();
      const many = Buffer.concat(Array.from({ length: 100 }, () => flood));
      const sent = await pour(peer, (i) => (i < 20_000 ? many : undefined));
      peer.socket.resume();
      await peer.closed;
      assert.ok(sent < 20_000, `${sent * 100} frames`);
    }
  });

  it("is given no more streams than the limit", async () => {
    const peer = await openPeer(server.url);
    for (let i = 0; i < 150; i++) peer.send(open(2 * i + 1));
    await until("some are refused", () => peer.frames.filter(({ type }) => type === TYPE.reset).length >= 50 || peer.socket.destroyed);
    assert.ok((await running(server)) <= 100);
    peer.socket.destroy();
    await until("no call is left", async () => (await running(server)) === 0);
  });

  it("is cut off when it says nothing, half a preface, or a wrong one", async () => {
    for (const hello of ["", "P", "PRI", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "PRI * HTTP/1.1\r\n\r\n"]) {
      const peer = await openPeer(server.url, Buffer.from(hello));
      await peer.closed;
    }
  });

  it("is let go when it closes its half, or all, in the middle of anything", async () => {
    const whole = Buffer.concat([PREFACE, settings(), open(1), frame(TYPE.data, 0, 1, message(Buffer.alloc(100)).subarray(0, 50))]);
    for (let length = 0; length < whole.length; length += 7) {
      for (const how of ["end", "destroy", "reset"] as const) {
        const peer: Peer = await openPeer(server.url, whole.subarray(0, length));
        if (how === "end") peer.socket.end();
        else if (how === "destroy") peer.socket.destroy();
        else peer.socket.resetAndDestroy();
        await peer.closed;
      }
    }
    await until("no call is left", async () => (await running(server)) === 0);
  });

  it("gets nothing inflated", async () => {
    await withSession(server.url, async (session) => {
      for (const method of ["Upload", "Download", "GetRun"]) {
        for (const encoding of ["gzip", "deflate", "br", "snappy"]) {
          const { status } = statusOf(await rawCall(session, method, message(Buffer.alloc(1_000), 1), { "grpc-encoding": encoding }));
          assert.equal(status, 12, `${method} ${encoding}`);
        }
        // A flag without an encoding.
        assert.ok([3, 13].includes(statusOf(await rawCall(session, method, message(Buffer.alloc(1_000), 1))).status), method);
      }
      for (const type of ["application/json", "application/proto"]) {
        const { headers } = await rawCall(session, "GetRun", Buffer.alloc(1_000), { "content-type": type, "content-encoding": "gzip" });
        assert.equal(headers[":status"], 501);
      }
    });
  });

  it("costs no memory by lengths that it only promises", async () => {
    await withSession(server.url, async (session) => {
      for (const method of ["Upload", "Download", "GetRun", "Verify"]) {
        for (const length of [2 ** 32 - 1, 2 ** 31, 4 * 1024 * 1024 + 1]) {
          const { reason } = statusOf(await rawCall(session, method, message(Buffer.from("abc"), 0, length)));
          assert.equal(reason, "MESSAGE_INVALID", `${method} ${length}`);
        }
      }
    });
  });

  it("gets an answer to messages that nest without end", async () => {
    await withSession(server.url, async (session) => {
      const groups = Buffer.alloc(1024 * 1024, 0x7b);
      for (const method of ["Upload", "Download", "GetRun"]) {
        assert.equal(statusOf(await rawCall(session, method, message(groups))).reason, "MESSAGE_INVALID", method);
      }
      const json = Buffer.from(`{"project":${"[".repeat(1_000_000)}`);
      const { headers } = await rawCall(session, "GetRun", json, { "content-type": "application/json" });
      assert.equal(headers[":status"], 400);
    });
  });
});

async function running(server: TestServer): Promise<number> {
  return withSession(server.url, async (session) => {
    const stream = session.request({ ":path": "/metrics", authorization: `Bearer ${TOKEN}` });
    let text = "";
    stream.on("data", (part) => (text += part));
    stream.end();
    await once(stream, "close");
    return [...text.matchAll(/calls_in_flight\{method="dstack[^}]*\} (\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0);
  });
}
