/** The connections that ranges are read over, against servers that say byte for byte what comes. */
import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import tls from "node:tls";
import fc from "fast-check";
import { collect, collectSmall } from "../../src/store/drivers/cloud/bytes.ts";
import { lengthOf, openRangeReader, originOf, type RangeReader } from "../../src/store/drivers/cloud/ranges.ts";
import { makeCertificate } from "../support/certificates.ts";

const BODY = Buffer.from(Array.from({ length: 50_000 }, (_, i) => i % 251));
/** More than all the buffers between a server and a reader hold. */
const LARGE = Buffer.alloc(32 * 1024 * 1024, "large");
const head = (status: string, ...fields: string[]) =>
  Buffer.from(`HTTP/1.1 ${status}\r\n${fields.map((field) => `${field}\r\n`).join("")}\r\n`);
const partial = (body: Buffer = BODY, ...fields: string[]) =>
  Buffer.concat([head("206 Partial Content", `Content-Length: ${body.length}`, ...fields), body]);
const chunked = (body: Buffer) => Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from("\r\n0\r\n\r\n")]);

/** What a server does with a request: the how manieth on its connection, counted from 0, and the connection's number. */
type Script = (socket: net.Socket, request: { text: string; index: number; connection: number }) => void;
const say =
  (...parts: Buffer[]): Script =>
  (socket) => {
    for (const part of parts) socket.write(part);
  };

interface Scripted {
  readonly origin: string;
  script: Script;
  /** Connections so far, closed ones included. */
  readonly sockets: net.Socket[];
  stop(): Promise<void>;
}

async function serve(create: (onConnection: (socket: net.Socket) => void) => net.Server = net.createServer): Promise<Scripted> {
  const sockets: net.Socket[] = [];
  const server = create((socket) => {
    const connection = sockets.push(socket) - 1;
    let index = 0;
    let text = "";
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      text += bytes.toString("latin1");
      if (!text.endsWith("\r\n\r\n")) return;
      scripted.script(socket, { text, index: index++, connection });
      text = "";
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const scripted: Scripted = {
    origin: `${create === net.createServer ? "http" : "https"}://127.0.0.1:${(server.address() as net.AddressInfo).port}`,
    script: say(partial()),
    sockets,
    async stop() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
  return scripted;
}

/** Resolves however it came to it. */
async function closed(socket: net.Socket): Promise<void> {
  if (!socket.closed) await new Promise((resolve) => socket.once("close", resolve));
}

describe("ranges over HTTP", () => {
  let server: Scripted;
  let reader: RangeReader;
  beforeEach(async () => {
    server = await serve();
    reader = openRangeReader(undefined);
  });
  afterEach(async () => {
    reader.close();
    await server.stop();
  });

  async function ask({ signal, from = reader, at = server }: { signal?: AbortSignal; from?: RangeReader; at?: Scripted } = {}) {
    const { protocol, hostname, port, host } = new URL(at.origin);
    const headers = { host, range: `bytes=0-${BODY.length - 1}` };
    return from.read({ origin: originOf(protocol, hostname, port), target: "/box/key?x=1", headers, length: BODY.length, signal });
  }

  async function read(options: Parameters<typeof ask>[0] = {}): Promise<Uint8Array> {
    const { status, headers, body } = await ask(options);
    assert.equal(status, 206);
    return collect(body, Number(headers["content-length"]));
  }

  it("sends what it is told to, and keeps the connection", async () => {
    const texts: string[] = [];
    server.script = (socket, { text }) => {
      texts.push(text);
      socket.write(partial());
    };
    for (let i = 0; i < 3; i++) assert.deepEqual(await read(), BODY);
    const host = server.origin.slice("http://".length);
    assert.deepEqual(texts, Array(3).fill(`GET /box/key?x=1 HTTP/1.1\r\nhost: ${host}\r\nrange: bytes=0-49999\r\n\r\n`));
    assert.equal(server.sockets.length, 1);
  });

  it("opens as many connections as there are requests at a time", async () => {
    const all = await Promise.all([read(), read(), read()]);
    assert.ok(all.every((bytes) => BODY.equals(bytes)));
    await Promise.all([read(), read(), read()]);
    assert.equal(server.sockets.length, 3);
  });

  it("gives the answer's fields, in lower case, those that come twice joined", async () => {
    server.script = say(partial(BODY, "Content-Range: bytes 0-49999/60000", "X-A:1", "x-a:  2 ", 'ETag: "\xfc"'));
    const { headers } = await ask();
    assert.deepEqual([headers["content-range"], headers["x-a"], headers["connection"]], ["bytes 0-49999/60000", "1, 2", undefined]);
  });

  it("takes an answer in any pieces", async () => {
    const small = Buffer.from("0123456789");
    const answer = partial(small);
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(fc.nat(answer.length), { maxLength: 4 }), async (cuts) => {
        const ends = [...cuts, answer.length].sort((a, b) => a - b);
        server.script = (socket) => {
          socket.setNoDelay(true);
          const next = (from: number, [end, ...rest]: number[]) => {
            if (end !== undefined) socket.write(answer.subarray(from, end), () => setImmediate(next, end, rest));
          };
          next(0, ends);
        };
        assert.deepEqual(await read(), small);
      }),
      { numRuns: 50 },
    );
    assert.equal(server.sockets.length, 1);
  });

  it("takes a range that is shorter than it asked for, or empty", async () => {
    for (const size of [1, 0]) {
      server.script = say(partial(BODY.subarray(0, size)));
      assert.deepEqual(await read(), BODY.subarray(0, size));
    }
    assert.equal(server.sockets.length, 1);
  });

  describe("doesn't use a connection again", () => {
    const cases: readonly [string, Script][] = [
      ["whose answer says that it closes", say(partial(BODY, "Connection: Close"))],
      ["that sent more than the answer has", say(Buffer.concat([partial(BODY.subarray(0, 10)), Buffer.from("more")]))],
      ["that is closed behind the answer", (socket) => socket.end(partial())],
      ["whose answer was of another form", say(Buffer.concat([head("404 Not Found", "Content-Length: 2"), Buffer.from("no")]))],
    ];
    for (const [what, script] of cases) {
      it(what, async () => {
        server.script = script;
        await collectSmall((await ask()).body);
        const [first] = server.sockets as [net.Socket];
        await closed(first);
        server.script = say(partial());
        assert.deepEqual(await read(), BODY);
        assert.equal(server.sockets.length, 2);
      });
    }

    it("that says something without being asked", async () => {
      await read();
      const [first] = server.sockets as [net.Socket];
      first.write("HTTP/1.1 408 Request Timeout\r\n\r\n");
      await closed(first);
      assert.deepEqual(await read(), BODY);
      assert.equal(server.sockets.length, 2);
    });
  });

  describe("leaves other answers to Node's own parser", () => {
    const text = Buffer.from("<Error>because</Error>");
    const cases: readonly [string, Buffer, number, Buffer][] = [
      ["an error of a known length", Buffer.concat([head("503 Slow Down", "Content-Length: 22"), text]), 503, text],
      ["an error in chunks", Buffer.concat([head("404 Not Found", "Transfer-Encoding: chunked"), chunked(text)]), 404, text],
      ["a range in chunks", Buffer.concat([head("206 Partial Content", "Transfer-Encoding: chunked"), chunked(BODY)]), 206, BODY],
      ["an answer behind a provisional one", Buffer.concat([head("103 Early Hints", "Link: </x>"), partial()]), 206, BODY],
      ["more than was asked for", partial(Buffer.concat([BODY, BODY])), 206, Buffer.concat([BODY, BODY])],
      ["all of a large object", Buffer.concat([head("200 OK", `Content-Length: ${LARGE.length}`), LARGE]), 200, LARGE],
      ["another version of HTTP", Buffer.from(partial().toString("latin1").replace("1.1", "1.0"), "latin1"), 206, BODY],
    ];
    for (const [what, answer, status, body] of cases) {
      it(what, async () => {
        server.script = say(answer);
        const given = await ask();
        assert.deepEqual([given.status, await collectSmall(given.body)], [status, body]);
      });
    }

    it("an error that ends with its connection", async () => {
      server.script = (socket) => socket.end(Buffer.concat([head("500 Oh", "X-A: 1"), text]));
      const { status, headers, body } = await ask();
      assert.deepEqual([status, headers["x-a"], await collectSmall(body)], [500, "1", text]);
    });

    const broken: readonly [string, Buffer, RegExp][] = [
      ["what isn't HTTP", Buffer.from("SSH-2.0-OpenSSH\r\n"), /^HPE_/],
      ["a field on two lines", partial(BODY, "X-A: 1\r\n 2"), /^HPE_/],
      ["a head without end", head("206 Partial Content", `X-A: ${"a".repeat(20_000)}`), /^HPE_HEADER_OVERFLOW$/],
      ["two lengths", Buffer.concat([head("206 Partial Content", "Content-Length: 1", "Content-Length: 2"), BODY]), /^HPE_/],
    ];
    for (const [what, answer, code] of broken) {
      it(`${what}, which it refuses`, async () => {
        server.script = say(answer);
        await assert.rejects(ask(), ({ code: found }: NodeJS.ErrnoException) => code.test(String(found)));
      });
    }

    it("and ends the connection of a body that isn't wanted", async () => {
      server.script = say(head("200 OK", `Content-Length: ${LARGE.length}`), LARGE);
      const { body } = await ask();
      body.destroy();
      await closed(server.sockets[0] as net.Socket);
    });
  });

  describe("rejects", () => {
    const reset: Script = (socket) => socket.resetAndDestroy();
    const begun = partial().subarray(0, 30_000);
    const then =
      (bytes: Buffer, end: Script): Script =>
      (socket, request) =>
        // Once the bytes have come, so that a reset doesn't overtake them.
        socket.write(bytes, () => setTimeout(end, 20, socket, request));
    const cases: readonly [string, Script, RegExp][] = [
      ["when no answer comes", (socket) => socket.end(), /socket hang up/],
      ["when the connection is reset before the answer", reset, /ECONNRESET/],
      ["when the head is cut off", then(Buffer.from("HTTP/1.1 206 Partial"), (socket) => socket.end()), /socket hang up/],
      ["when the body is cut off", then(begun, (socket) => socket.end()), /cut off: \d+ of 50000 bytes arrived/],
      ["when the connection is reset in the body", then(begun, reset), /ECONNRESET/],
    ];
    for (const [what, script, message] of cases) {
      it(`${what}, and goes on working`, async () => {
        server.script = script;
        await assert.rejects(ask(), message);
        server.script = say(partial());
        assert.deepEqual(await read(), BODY);
      });
    }

    it("when nothing listens", async () => {
      await server.stop();
      await assert.rejects(ask(), { code: "ECONNREFUSED" });
      server = await serve();
    });

    it("when an error's body is cut off", async () => {
      server.script = then(head("503 Slow Down", "Content-Length: 100"), (socket) => socket.end());
      await assert.rejects(async () => collectSmall((await ask()).body), { code: "ECONNRESET" });
    });

    it("a request that can't be written, without sending it", async () => {
      const { protocol, hostname, port } = new URL(server.origin);
      const request = { origin: originOf(protocol, hostname, port), length: 1, signal: undefined };
      await assert.rejects(reader.read({ ...request, target: "/a b", headers: {} }), TypeError);
      await assert.rejects(reader.read({ ...request, target: "/", headers: { a: "1\r\nb: 2" } }), TypeError);
      assert.deepEqual(await read(), BODY);
    });
  });

  describe("ends a request early, and its connection with it", () => {
    const reason = new Error("enough");
    const cases: readonly [string, Buffer][] = [
      ["before the answer", Buffer.alloc(0)],
      ["in the head", Buffer.from("HTTP/1.1 206 Pa")],
      ["in the body", partial().subarray(0, 30_000)],
      ["in an error's head", Buffer.from("HTTP/1.1 503 Slow")],
    ];
    for (const [where, bytes] of cases) {
      it(where, async () => {
        const controller = new AbortController();
        server.script = (socket) => socket.write(bytes, () => setImmediate(() => controller.abort(reason)));
        await assert.rejects(ask({ signal: controller.signal }), (error) => error === reason);
        const [socket] = server.sockets as [net.Socket];
        await closed(socket);
        server.script = say(partial());
        assert.deepEqual(await read(), BODY);
      });
    }

    it("in an error's body", async () => {
      const controller = new AbortController();
      server.script = say(head("503 Slow Down", "Content-Length: 100"));
      const { body } = await ask({ signal: controller.signal });
      controller.abort(reason);
      await assert.rejects(collectSmall(body));
      const [socket] = server.sockets as [net.Socket];
      await closed(socket);
    });

    it("but not one that has its answer", async () => {
      const controller = new AbortController();
      const { body } = await ask({ signal: controller.signal });
      controller.abort(reason);
      assert.deepEqual(await collect(body, BODY.length), BODY);
      assert.deepEqual(await read(), BODY);
      assert.equal(server.sockets.length, 1);
    });
  });

  describe("with TLS", () => {
    const authority = makeCertificate("authority");
    const { cert, key } = makeCertificate("server", authority);
    let secure: Scripted;
    before(async () => {
      secure = await serve((onConnection) => tls.createServer({ cert, key }, onConnection));
    });
    after(() => secure.stop());

    it("reads from a server whose authority is trusted", async () => {
      const trusting = openRangeReader(authority.cert);
      for (let i = 0; i < 3; i++) assert.deepEqual(await read({ from: trusting, at: secure }), BODY);
      assert.equal(secure.sockets.length, 1);
      trusting.close();
    });

    it("rejects where it isn't", async () => {
      await assert.rejects(ask({ at: secure }), /certificate/);
    });

    it("gives up a handshake that doesn't end", async () => {
      const hasty = openRangeReader(undefined, 50);
      const silent = { ...server, origin: server.origin.replace("http:", "https:") };
      server.script = () => {};
      await assert.rejects(ask({ from: hasty, at: silent }), { code: "ETIMEDOUT" });
      hasty.close();
    });
  });

  it("knows where addresses lead", () => {
    assert.deepEqual(originOf("https:", "[::1]", ""), { secure: true, host: "::1", port: 443 });
    assert.deepEqual(originOf("http:", "store.test", undefined), { secure: false, host: "store.test", port: 80 });
    assert.deepEqual([lengthOf({ range: "bytes=5-9" }), lengthOf({ range: "bytes=5-" }), lengthOf({})], [5, undefined, undefined]);
  });
});
