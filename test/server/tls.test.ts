import assert from "node:assert/strict";
import { once } from "node:events";
import { rename, writeFile } from "node:fs/promises";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { join } from "node:path";
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from "node:tls";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { ArtifactsService } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { type Certificate, makeCertificate } from "../support/certificates.ts";
import { rawCall, startTestServer, statusOf, type TestServer, TOKEN, until, withFolder } from "./support.ts";

const authority = makeCertificate("an authority");
const ca = authority.cert;

async function withTls<T>(
  options: { mutual?: boolean; limits?: object },
  use: (server: TestServer, replace: (next: Certificate) => Promise<void>) => Promise<T>,
): Promise<T> {
  return withFolder(async (folder) => {
    const files = { certFile: join(folder, "cert.pem"), keyFile: join(folder, "key.pem") };
    const clientCaFile = options.mutual ? join(folder, "ca.pem") : undefined;
    const replace = async ({ cert, key }: Certificate) => {
      for (const [path, text] of [
        [files.certFile, cert],
        [files.keyFile, key],
      ] as const) {
        await writeFile(`${path}.new`, text);
        await rename(`${path}.new`, path);
      }
    };
    await replace(makeCertificate("first", authority));
    if (clientCaFile !== undefined) await writeFile(clientCaFile, ca);
    await using server = await startTestServer({
      listen: ["https://127.0.0.1:0"],
      tls: { ...files, clientCaFile },
      limits: { tlsReloadMs: 20, ...options.limits },
    });
    return await use(server, replace);
  });
}

/** The name in the certificate that the server shows. */
async function shownBy(server: TestServer, options: ConnectionOptions = {}): Promise<string> {
  const socket = await shakeHands(server, options);
  const name = String(socket.getPeerCertificate().subject.CN);
  socket.destroy();
  return name;
}

async function shakeHands(server: TestServer, options: ConnectionOptions): Promise<TLSSocket> {
  const socket = connectTls({ port: Number(new URL(server.url).port), host: "127.0.0.1", ca, ALPNProtocols: ["h2"], ...options });
  await once(socket, "secureConnect");
  return socket;
}

describe("TLS", () => {
  it("carries gRPC and Connect on one port, and asks for a token", () =>
    withTls({}, async (server) => {
      const authorized = { interceptors: [] };
      for (const transport of [
        createGrpcTransport({ baseUrl: server.url, nodeOptions: { ca }, ...authorized }),
        createConnectTransport({ baseUrl: server.url, httpVersion: "1.1", nodeOptions: { ca } }),
      ]) {
        const client = createClient(ArtifactsService, transport);
        const { run } = await client.getServerInfo({}, { headers: { authorization: `Bearer ${TOKEN}` } });
        assert.equal(run, "current-run-1");
        await assert.rejects(client.getServerInfo({}), /unauthenticated/);
      }
    }));

  it("takes files that were replaced for new connections, without an interruption of the old ones", () =>
    withTls({}, async (server, replace) => {
      const session = connectHttp2(server.url, { ca });
      session.on("error", () => {});
      await once(session, "connect");
      assert.equal(await shownBy(server), "first");
      await replace(makeCertificate("second", authority));
      await until("the second is shown", async () => (await shownBy(server)) === "second");
      assert.equal(statusOf(await rawCall(session, "Upload", Buffer.alloc(0))).reason, "MESSAGE_INVALID");
      session.destroy();
    }));

  it("goes on with the old files when the new ones are of no use, and says so once", () =>
    withTls({}, async (server, replace) => {
      await replace({ ...makeCertificate("broken", authority), cert: "nothing" });
      const complaints = () => server.log.filter(({ msg }) => String(msg).includes("can't be used: going on with the old ones"));
      await until("it complains", () => complaints().length > 0);
      assert.equal(await shownBy(server), "first");
      await replace({ ...makeCertificate("one", authority), key: makeCertificate("another", authority).key });
      await until("it complains of the other", () => complaints().length > 1);
      assert.equal(await shownBy(server), "first");
      await new Promise((resolve) => setTimeout(resolve, 100));
      assert.equal(complaints().length, 2);
    }));

  it("asks clients for a certificate of the authority, beside a token, when it is told so", () =>
    withTls({ mutual: true }, async (server) => {
      const { cert, key } = makeCertificate("a client", authority);
      const call = async (options: object, headers: object) => {
        const session = connectHttp2(server.url, { ca, ...options });
        const failed = once(session, "error").then(([error]) => Promise.reject(error));
        failed.catch(() => {});
        try {
          return statusOf(await Promise.race([rawCall(session, "Upload", Buffer.alloc(0), headers as never), failed]));
        } finally {
          session.on("error", () => {});
          session.destroy();
        }
      };
      assert.equal((await call({ cert, key }, {})).reason, "MESSAGE_INVALID");
      assert.equal((await call({ cert, key }, { authorization: "Bearer wrong" })).reason, "TOKEN_INVALID");
      const stranger = makeCertificate("a client", makeCertificate("an authority"));
      for (const options of [{}, { cert: stranger.cert, key: stranger.key }]) {
        const outcome = await call(options, {}).then(
          ({ status }) => status,
          (error) => String(error),
        );
        assert.ok(outcome === -1 || /certificate|alert|ECONNRESET|closed|hang up|EPIPE/i.test(String(outcome)), String(outcome));
      }
    }));

  it("is 1.2 at the least", () =>
    withTls({}, async (server) => {
      await assert.rejects(shakeHands(server, { minVersion: "TLSv1", maxVersion: "TLSv1.1" }));
      const socket = await shakeHands(server, { maxVersion: "TLSv1.2" });
      assert.equal(socket.getProtocol(), "TLSv1.2");
      socket.destroy();
    }));

  it("ends handshakes that stall, that are cut off, and that are none", () =>
    withTls({ limits: { handshakeTimeoutMs: 200 } }, async (server) => {
      const port = Number(new URL(server.url).port);
      const stalled = connect(port, "127.0.0.1");
      stalled.on("error", () => {});
      const none = connect(port, "127.0.0.1", () => none.write("GET / HTTP/1.1\r\n\r\n"));
      none.on("error", () => {}).resume();
      const cut = connect(port, "127.0.0.1", () =>
        cut.write(Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]), () => cut.resetAndDestroy()),
      );
      cut.on("error", () => {});
      await Promise.all([once(stalled.resume(), "close"), once(none, "close"), once(cut, "close")]);
      assert.equal(await shownBy(server), "first");
    }));

  it("names the file that can't be used, before anything listens", () =>
    withFolder(async (folder) => {
      const [certFile, keyFile] = [join(folder, "cert.pem"), join(folder, "key.pem")];
      const start = () => startTestServer({ listen: ["https://127.0.0.1:0"], tls: { certFile, keyFile } });
      await assert.rejects(start(), new RegExp(`^Error: TLS: ${folder}/(cert|key).pem can't be read: ENOENT`));
      await writeFile(certFile, "nothing");
      await writeFile(keyFile, "nothing");
      await assert.rejects(start(), new RegExp(`^Error: TLS: ${certFile} and ${keyFile} can't be used: `));
      await assert.rejects(startTestServer({ listen: ["https://127.0.0.1:0"] }), /needs --tls-cert and --tls-key$/);
    }));
});
