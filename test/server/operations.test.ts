import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { connect as connectHttp2 } from "node:http2";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createClient } from "@connectrpc/connect";
import { Health, HealthCheckResponse_ServingStatus as Status } from "../../gen/ts/health/v1/health_pb.ts";
import { StoreError } from "../../src/store/driver.ts";
import { servers } from "../support/domain.ts";
import {
  clientOf,
  collect,
  cutAt,
  failureFrom,
  openCall,
  reasonOf,
  startTestServer,
  statusOf,
  type TestServer,
  TOKEN,
  TRANSPORTS,
  toRun,
  until,
  uploadMessages,
  withFolder,
  withSession,
} from "./support.ts";

const QUICK = { readinessIntervalMs: 20, readinessTimeoutMs: 100 };
const healthOf = (server: TestServer) => createClient(Health, (TRANSPORTS["gRPC"] as (typeof TRANSPORTS)[string])(server.url));

async function get(url: string, path: string): Promise<{ status: number; text: string }> {
  return withSession(url, async (session) => {
    const stream = session.request({ ":path": path, authorization: `Bearer ${TOKEN}` });
    let [status, text] = [0, ""];
    stream.on("response", (headers) => (status = Number(headers[":status"])));
    stream.on("data", (part) => (text += part));
    stream.end();
    await once(stream, "close");
    return { status, text };
  });
}

describe("readiness", () => {
  for (const [what, fault] of Object.entries({
    fails: () => {
      throw new StoreError("temporary", "no route to the store");
    },
    "doesn't answer": () => new Promise<void>(() => {}),
  })) {
    it(`turns false while the store ${what}, and true again`, async () => {
      const artifacts = await servers().open();
      await using server = await startTestServer({ artifacts, limits: QUICK });
      assert.deepEqual(await get(server.url, "/readyz"), { status: 200, text: "ready\n" });
      const seen: Status[] = [];
      const watching = new AbortController();
      const watched = (async () => {
        for await (const { status } of healthOf(server).watch({}, { signal: watching.signal })) seen.push(status);
      })().catch(() => {});

      await until("the watcher is there", () => seen.length === 1);
      artifacts.driver.interceptor = { before: fault };
      await until("it isn't ready", async () => (await get(server.url, "/readyz")).status === 503);
      assert.match((await get(server.url, "/readyz")).text, /^the store does not answer: [^\n]+\n$/);
      assert.equal((await healthOf(server).check({ service: "dstack.artifacts.v1.ArtifactsService" })).status, Status.NOT_SERVING);
      // Alive all the same: a restart wouldn't help.
      assert.deepEqual(await get(server.url, "/healthz"), { status: 200, text: "ok\n" });

      artifacts.driver.interceptor = {};
      await until("it is ready", async () => (await get(server.url, "/readyz")).status === 200);
      await until("the watcher has seen it", () => seen.length === 3);
      watching.abort();
      await watched;
      assert.deepEqual(seen, [Status.SERVING, Status.NOT_SERVING, Status.SERVING]);
      assert.equal(server.log.filter(({ msg }) => msg === "not ready").length, 1);
    });
  }

  it("knows the services that it serves, and no others", async () => {
    await using server = await startTestServer();
    const health = healthOf(server);
    assert.equal((await health.check({})).status, Status.SERVING);
    assert.equal((await failureFrom(() => health.check({ service: "other" }))).code, 5);
    assert.deepEqual(Object.keys((await health.list({})).statuses).sort(), ["", "dstack.artifacts.v1.ArtifactsService"]);
  });
});

describe("a server that is told to stop", () => {
  it("says that it isn't ready, takes no new calls, and lets those that run come to their end", async () => {
    const server = await startTestServer({ graceMs: 5_000 });
    const session = connectHttp2(server.url);
    session.on("error", () => {});
    let go = () => {};
    const held = new Promise<void>((resolve) => {
      go = resolve;
    });
    let uploaded: Promise<{ commit: bigint }> | undefined;
    const begun = new Promise<void>((resolve) => {
      const upload = async function* () {
        for await (const message of uploadMessages({ run: "r" }, { a: "1" })) {
          if (message.message.case === "finish") {
            resolve();
            await held;
          }
          yield message;
        }
      };
      uploaded = clientOf(server.url).upload(upload());
    });
    await begun;
    const watching: Status[] = [];
    const watched = (async () => {
      for await (const { status } of healthOf(server).watch({})) watching.push(status);
    })();
    await until("the watcher is there", () => watching.length === 1);
    await until("the call runs", async () => /Upload"\} 1/.test((await get(server.url, "/metrics")).text));

    const closed = server.close();
    await watched;
    assert.deepEqual(watching, [Status.SERVING, Status.NOT_SERVING]);
    // GOAWAY: no new streams on old connections. And no new connections.
    await once(session, "close");
    await assert.rejects(clientOf(server.url).getServerInfo({}), /unavailable|ECONNREFUSED/i);
    go();
    assert.equal((await uploaded)?.commit, 1n);
    await closed;
    await server.artifacts.close();
  });

  it("ends calls that outlast its grace in a way that can be gone on with", async () => {
    const artifacts = await servers().open();
    const server = await startTestServer({ artifacts, graceMs: 50 });
    const [uploadId, hot, other] = [randomUUID(), connectHttp2(server.url), connectHttp2(server.url)];
    for (const session of [hot, other]) session.on("error", () => {});
    const stuck = clientOf(server.url).upload(
      (async function* () {
        yield* cutAt(uploadMessages({ run: "r", uploadId }, { a: "x".repeat(1_000) }), "finish");
        await new Promise(() => {});
      })(),
    );
    const ended = failureFrom(() => stuck);
    const idle = openCall(hot, "Upload").answer;
    const bySide = openCall(other, "Upload", { "content-type": "application/grpc+json" }).answer;
    await until("all run", async () => /Upload"\} 3/.test((await get(server.url, "/metrics")).text));
    await until("the bytes came", async () => /file_bytes_total\{direction="in"\} 1000/.test((await get(server.url, "/metrics")).text));
    const started = performance.now();
    await server.close();
    assert.ok(performance.now() - started < 4_000, "it didn't wait for the second grace period");
    const { reason, retryAfterMs } = await ended;
    assert.deepEqual([reason, retryAfterMs], ["SERVER_STOPPING", 1_000]);
    for (const answer of [idle, bySide]) assert.equal(statusOf(await answer).reason, "SERVER_STOPPING");
    for (const session of [hot, other]) session.destroy();

    await using next = await startTestServer({ artifacts });
    assert.equal((await clientOf(next.url).getUpload({ uploadId })).files[0]?.spans[0]?.length, 1_000n);
    await clientOf(next.url).upload(uploadMessages({ run: "r", uploadId }, { a: "x".repeat(1_000) }));
    assert.deepEqual(await collect(clientOf(next.url).download({ reference: toRun("r") })), { a: "x".repeat(1_000) });
  });

  it("ends a download whose reader stalls", async () => {
    const server = await startTestServer({ graceMs: 50 });
    await clientOf(server.url).upload(uploadMessages({ run: "r" }, { a: Buffer.alloc(16 * 1024 * 1024) }));
    const session = connectHttp2(server.url, { settings: { initialWindowSize: 1_000 } });
    session.on("error", () => {});
    const { stream, answer } = openCall(session, "Download");
    stream.end(Buffer.from([0, 0, 0, 0, 7, 0x12, 0x05, 0x0a, 0x03, 0x0a, 0x01, 0x72]));
    await once(stream, "response");
    stream.pause();
    const started = performance.now();
    await server.close();
    assert.ok(performance.now() - started < 4_000);
    await Promise.all([answer, server.artifacts.close()]);
  });

  it("closes twice as once", async () => {
    const server = await startTestServer();
    await Promise.all([server.close(), server.close()]);
    await server.artifacts.close();
  });
});

describe("the command that serves", () => {
  const main = fileURLToPath(new URL("../../src/main.ts", import.meta.url));

  it("ends by SIGTERM with 0, its socket gone, and tells nobody its token", () =>
    withFolder(async (folder) => {
      const secret = `secret-${randomUUID()}`;
      const socket = join(folder, "run", "server.sock");
      const args = [
        main,
        "serve",
        "--store",
        join(folder, "store"),
        "--listen",
        `unix://${socket}`,
        "--listen",
        "http://127.0.0.1:0",
        "--log-level",
        "debug",
      ];
      const env = { PATH: process.env["PATH"], HOME: folder, DSTACK_ARTIFACTS_TOKEN: secret };
      const child = spawn(process.execPath, args, { env, stdio: ["ignore", "pipe", "pipe"] });
      const exited = once(child, "exit");
      let [out, err] = ["", ""];
      child.stdout.on("data", (part) => (out += part));
      child.stderr.on("data", (part) => (err += part));
      await until("it listens", () => out.includes("run "), 20_000);
      const url = /listening on (http\S+)/.exec(out)?.[1] as string;
      await clientOf(url, { authorization: `Bearer ${secret}` }).upload(uploadMessages({ run: "r" }, { a: "1" }));
      assert.equal(await reasonOf(() => clientOf(url, { authorization: `Bearer ${secret}x` }).listRuns({})), "TOKEN_INVALID");
      if (process.platform === "linux") assert.ok(!(await readFile(`/proc/${child.pid}/cmdline`, "utf8")).includes(secret));
      child.kill("SIGTERM");
      assert.deepEqual(await exited, [0, null]);
      for (const text of [out, err]) assert.ok(!text.includes(secret));
      const lines = err
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line));
      assert.ok(lines.some(({ msg }) => msg === "store call") && lines.at(-1).msg === "stopped");
    }));
});
