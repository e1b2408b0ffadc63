import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { clientOf, reasonOf, startTestServer, type TestServer, TOKEN } from "../server/support.ts";

const AUTH = `authorization: Bearer ${TOKEN}\r\n`;
const METRICS = `GET /metrics HTTP/1.1\r\nhost: x\r\n${AUTH}\r\n`;
const post = (headers: string, body: string) =>
  `POST /dstack.artifacts.v1.ArtifactsService/GetServerInfo HTTP/1.1\r\nhost: x\r\n${AUTH}content-type: application/json\r\n${headers}\r\n${body}`;

/** Requests whose end two readers could see at different places: none may be taken, nor what is hidden behind it. */
const SMUGGLED: Readonly<Record<string, string>> = {
  "a length and chunks": post("content-length: 4\r\ntransfer-encoding: chunked\r\n", `0\r\n\r\n${METRICS}`),
  "chunks and a length": post("transfer-encoding: chunked\r\ncontent-length: 4\r\n", `0\r\n\r\n${METRICS}`),
  "two lengths": post("content-length: 2\r\ncontent-length: 100\r\n", `{}${METRICS}`),
  "two lengths in one": post("content-length: 2, 100\r\n", `{}${METRICS}`),
  "a length with a sign": post("content-length: +2\r\n", `{}${METRICS}`),
  "a length in hex": post("content-length: 0x2\r\n", `{}${METRICS}`),
  "a length without a number": post("content-length: \r\n", METRICS),
  "a length below zero": post("content-length: -1\r\n", METRICS),
  "a length over all numbers": post("content-length: 99999999999999999999\r\n", METRICS),
  "a coding that isn't known": post("transfer-encoding: xchunked\r\n", `0\r\n\r\n${METRICS}`),
  "a coding behind chunked": post("transfer-encoding: chunked, identity\r\n", `0\r\n\r\n${METRICS}`),
  "a space before the colon": post("content-length : 2\r\n", `{}${METRICS}`),
  "a folded line": post("x: y\r\n content-length: 2\r\n", `{}${METRICS}`),
  "a bare line feed": post("x: y\ncontent-length: 2\r\n", `{}${METRICS}`),
  "a bare carriage return": post("x: y\rcontent-length: 2\r\n", `{}${METRICS}`),
  "a NUL in a header": post("x: a\0b\r\n", METRICS),
  "a chunk's size that is none": post("transfer-encoding: chunked\r\n", `z\r\n{}\r\n0\r\n\r\n${METRICS}`),
  "a chunk's size over all numbers": post("transfer-encoding: chunked\r\n", `fffffffffffffffff\r\n{}\r\n0\r\n\r\n${METRICS}`),
  "a chunk that ends elsewhere": post("transfer-encoding: chunked\r\n", `2\r\n{}xx0\r\n\r\n${METRICS}`),
  "a version that isn't one": "GET /metrics HTTP/9.9\r\n\r\n",
  "no version": "GET /metrics\r\n\r\n",
  "no host": `GET /metrics HTTP/1.1\r\n${AUTH}\r\n`,
  "a method that isn't one": "G\x01T / HTTP/1.1\r\nhost: x\r\n\r\n",
  "bytes of no meaning": "\x16\x03\x01\x00\xa5\x01\x00",
};

describe("a hostile HTTP/1.1 peer", () => {
  let server: TestServer;
  before(async () => {
    server = await startTestServer({ limits: { handshakeTimeoutMs: 300, idleTimeoutMs: 1_500 } });
  });
  afterEach("the server serves others", async () => {
    assert.equal(await reasonOf(() => clientOf(server.url).getServerInfo({})), "nothing failed");
  });
  after(() => server[Symbol.asyncDispose]());

  function open(): { socket: Socket; text: () => string; closed: Promise<unknown> } {
    const { hostname, port } = new URL(server.url);
    const socket = connect(Number(port), hostname);
    let text = "";
    socket.on("data", (part) => (text += part.toString("latin1"))).on("error", () => {});
    return { socket, text: () => text, closed: new Promise((resolve) => socket.once("close", resolve)) };
  }

  for (const [what, request] of Object.entries(SMUGGLED)) {
    it(`can't hide a request behind ${what}`, async () => {
      const { socket, text, closed } = open();
      socket.write(Buffer.from(request, "latin1"));
      await closed;
      assert.doesNotMatch(text(), /dstack_artifacts_calls/, "the hidden request was answered");
      // At most the first request's own answer, and then an end.
      assert.ok([...text().matchAll(/^HTTP\/1\.1 /gm)].length <= 2, text());
      assert.match(text(), /^HTTP\/1\.1 4\d\d |HTTP\/1\.1 400 Bad Request|^$/);
    });
  }

  it("is cut off when its headers come slowly, or never end", async () => {
    const started = performance.now();
    const { socket, closed } = open();
    socket.write("GET /metrics HTTP/1.1\r\nhost: x\r\n");
    const drip = setInterval(() => socket.write("x: y\r\n"), 50);
    await closed;
    clearInterval(drip);
    assert.ok(performance.now() - started < 5_000);
    const endless = open();
    endless.socket.write("GET /metrics HTTP/1.1\r\nhost: x\r\n");
    const timer = setInterval(() => endless.socket.write(`x: ${"y".repeat(10_000)}\r\n`), 1);
    await endless.closed;
    clearInterval(timer);
    assert.match(endless.text(), /^HTTP\/1\.1 400 |^$/);
  });

  it("is cut off when it idles between requests, or stalls in a body", async () => {
    for (const request of [METRICS, post("content-length: 100\r\n", "{")]) {
      const { socket, closed } = open();
      socket.write(request);
      await closed;
    }
  });

  it("is cut off when it closes its half in the middle of a request", async () => {
    for (const request of ["", "GET", METRICS.slice(0, -2), post("content-length: 100\r\n", "{")]) {
      const { socket, closed } = open();
      socket.end(request);
      await closed;
    }
  });

  it("is answered when it closes its half behind a whole request", async () => {
    const { socket, text, closed } = open();
    socket.end(post("content-length: 2\r\n", "{}"));
    await closed;
    assert.match(text(), /^HTTP\/1\.1 200 .*"run":"current-run-1"/s);
  });

  it("gets no tunnel, no upgrade and no proxy", async () => {
    for (const request of [
      `CONNECT localhost:22 HTTP/1.1\r\nhost: x\r\n${AUTH}\r\n`,
      `GET http://localhost:22/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\n${AUTH}\r\n`,
      `GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade, close\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n${AUTH}\r\n`,
      `GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n${AUTH}\r\n`,
      `TRACE / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n${AUTH}\r\n`,
    ]) {
      const { socket, text, closed } = open();
      socket.write(request);
      await closed;
      assert.match(text(), /^HTTP\/1\.1 4\d\d |^$/, request);
      assert.doesNotMatch(text(), new RegExp(TOKEN));
    }
  });

  it("may send many requests at once, and is answered in their order", async () => {
    const { socket, text, closed } = open();
    socket.write(METRICS.repeat(50) + METRICS.replace("host: x", "host: x\r\nconnection: close"));
    await closed;
    assert.equal([...text().matchAll(/^HTTP\/1\.1 200 /gm)].length, 51);
  });
});
