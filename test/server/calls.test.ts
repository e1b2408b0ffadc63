import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { request as requestHttp1 } from "node:http";
import { propagation, type TextMapPropagator, trace } from "@opentelemetry/api";
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import { openArtifacts } from "../../src/compose.ts";
import { createMetrics, type Metrics } from "../../src/server/metrics.ts";
import { servers } from "../support/domain.ts";
import { type Call, holdFirst } from "../support/intercepted-driver.ts";
import {
  all,
  clientOf,
  cutAt,
  failureFrom,
  frame,
  openCall,
  rawCall,
  reasonOf,
  startTestServer,
  statusOf,
  type TestServer,
  TOKEN,
  toRun,
  until,
  uploadMessages,
  withSession,
} from "./support.ts";

const DEADLINE_EXCEEDED = 4;
const UPLOAD = "dstack.artifacts.v1.ArtifactsService/Upload";
const JSON_CALL = { "content-type": "application/grpc+json" };
const lineOf = (server: TestServer, requestId: string) =>
  server.log.find((line) => line["msg"] === "call" && line["requestId"] === requestId);

describe("a call's deadline", () => {
  const held: Readonly<Record<string, { method: string; headers: object; body: Buffer; waitsFor: (call: Call) => boolean }>> = {
    "a hot upload whose client says nothing": { method: "Upload", headers: {}, body: Buffer.alloc(0), waitsFor: () => false },
    "a hot download whose store doesn't answer": {
      method: "Download",
      headers: {},
      body: frame(Buffer.from([0x12, 0x05, 0x0a, 0x03, 0x0a, 0x01, 0x72])),
      waitsFor: (call) => call.key.includes("/log/r/"),
    },
    "a call whose store doesn't answer": {
      method: "GetRun",
      headers: JSON_CALL,
      body: frame(Buffer.from('{"run":"r"}')),
      waitsFor: (call) => call.key.includes("/log/r/"),
    },
  };
  for (const [what, { method, headers, body, waitsFor }] of Object.entries(held)) {
    it(`ends ${what}`, async () => {
      const artifacts = await servers().open();
      await using server = await startTestServer({ artifacts });
      const hold = holdFirst(waitsFor);
      artifacts.driver.interceptor = hold.interceptor;
      await withSession(server.url, async (session) => {
        const requestId = randomUUID();
        const { stream, answer } = openCall(session, method, { ...headers, "grpc-timeout": "150m", "x-request-id": requestId });
        if (body.length > 0) stream.end(body);
        assert.equal(statusOf(await answer).status, DEADLINE_EXCEEDED);
        await until("it is logged", () => lineOf(server, requestId) !== undefined);
        assert.equal(lineOf(server, requestId)?.["code"], "deadline_exceeded");
      });
      hold.release();
    });
  }

  it("is refused when it isn't one", async () => {
    await using server = await startTestServer();
    await withSession(server.url, async (session) => {
      for (const [method, headers] of [
        ["Upload", {}],
        ["GetRun", JSON_CALL],
      ] as const) {
        for (const timeout of ["1", "-1S", "1s", "999999999S", "1.5S", "S"]) {
          const { status } = statusOf(await rawCall(session, method, Buffer.alloc(0), { ...headers, "grpc-timeout": timeout }));
          assert.equal(status, 3, `${method} ${timeout}`);
        }
      }
    });
  });
});

describe("a call that its client leaves", () => {
  for (const way of ["gRPC", "gRPC with JSON", "Connect over HTTP/1.1", "gRPC-Web over HTTP/2"]) {
    it(`ends at the server, and what came of an upload can be gone on with: ${way}`, async () => {
      await using server = await startTestServer();
      const uploadId = randomUUID();
      const requestId = randomUUID();
      const abort = new AbortController();
      async function* stuck() {
        yield* cutAt(uploadMessages({ run: "r", uploadId }, { a: "x".repeat(100_000) }), "finish");
        await until("the bytes came", async () => /file_bytes_total\{direction="in"\} 100000/.test(await metricsOf(server.url)));
        abort.abort();
        await new Promise(() => {});
      }
      const headers = { authorization: `Bearer ${TOKEN}`, "x-request-id": requestId };
      await assert.rejects(clientOf(server.url, headers, way).upload(stuck(), { signal: abort.signal }));
      await until("the call is over", () => lineOf(server, requestId) !== undefined);
      assert.equal(lineOf(server, requestId)?.["code"], "canceled");
      await until("what came is persisted", async () => (await clientOf(server.url).getUpload({ uploadId })).files.length === 1);
    });

    it(`frees what a download held: ${way}`, async () => {
      const artifacts = await servers().open();
      await using server = await startTestServer({ artifacts });
      await clientOf(server.url).upload(uploadMessages({ run: "r" }, { big: Buffer.alloc(24 * 1024 * 1024) }));
      const requestId = randomUUID();
      const abort = new AbortController();
      const headers = { authorization: `Bearer ${TOKEN}`, "x-request-id": requestId };
      const messages = clientOf(server.url, headers, way).download({ reference: toRun("r") }, { signal: abort.signal });
      await assert.rejects(async () => {
        for await (const { message } of messages) if (message.case === "chunk") abort.abort();
      });
      await until("the call is over", () => lineOf(server, requestId) !== undefined);
      assert.equal(lineOf(server, requestId)?.["code"], "canceled");
      const reads = artifacts.driver.calls.length;
      await new Promise((resolve) => setTimeout(resolve, 50));
      assert.ok(artifacts.driver.calls.length - reads <= 1, "it goes on reading");
      assert.match(await metricsOf(server.url), /calls_in_flight\{method="dstack.artifacts.v1.ArtifactsService\/Download"\} 0/);
    });
  }

  it("still commits when all of it had come", async () => {
    const artifacts = await servers().open();
    await using server = await startTestServer({ artifacts });
    const hold = holdFirst((call) => call.operation === "putIfAbsent" && call.key.includes("/log/r/"));
    artifacts.driver.interceptor = hold.interceptor;
    const abort = new AbortController();
    const upload = clientOf(server.url).upload(uploadMessages({ run: "r" }, { a: "1" }), { signal: abort.signal });
    await hold.reached;
    abort.abort();
    await assert.rejects(upload);
    hold.release();
    await until("the run is there", async () => (await reasonOf(() => clientOf(server.url).getRun({ run: "r" }))) === "nothing failed");
  });
});

describe("a request's id", () => {
  let server: TestServer;
  let metrics: Metrics;
  before(async () => {
    metrics = createMetrics();
    const { artifacts } = await openArtifacts("memory:", { onStoreCall: metrics.storeObserver });
    server = await startTestServer({ artifacts, metrics });
    await clientOf(server.url).upload(uploadMessages({ run: "r" }, { a: "1" }));
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    await metrics.close();
  });

  for (const [what, method, headers, body] of [
    ["a hot upload", "Upload", {}, Buffer.alloc(0)],
    ["a hot download", "Download", {}, frame(Buffer.from([0x12, 0x05, 0x0a, 0x03, 0x0a, 0x01, 0x72]))],
    ["a call", "GetRun", JSON_CALL, frame(Buffer.from('{"run":"r"}'))],
    ["a call that fails", "GetRun", JSON_CALL, frame(Buffer.from('{"run":"nobody"}'))],
    ["a call that is refused", "GetRun", { authorization: "Bearer wrong" }, Buffer.alloc(0)],
    ["what doesn't exist", "Nothing", {}, Buffer.alloc(0)],
  ] as const) {
    it(`is answered and logged: ${what}`, async () => {
      const requestId = `id-${randomUUID()}`;
      const answer = await withSession(server.url, (session) => rawCall(session, method, body, { ...headers, "x-request-id": requestId }));
      assert.equal(answer.headers["x-request-id"], requestId);
      await until("it is logged", () => lineOf(server, requestId) !== undefined);
    });
  }

  it("is the client's only if a log can hold it", async () => {
    for (const bad of ["a b", 'a"b', "x".repeat(129), "é"]) {
      const answer = await withSession(server.url, (session) => rawCall(session, "Upload", Buffer.alloc(0), { "x-request-id": bad }));
      assert.match(String(answer.headers["x-request-id"]), /^[0-9a-f-]{36}$/);
    }
  });

  for (const way of ["gRPC", "Connect over HTTP/1.1"]) {
    it(`goes with every call to the store that a request makes: ${way}`, async () => {
      const requestId = `store-${randomUUID()}`;
      const client = clientOf(server.url, { authorization: `Bearer ${TOKEN}`, "x-request-id": requestId }, way);
      await client.upload(uploadMessages({ run: "s" }, { a: "some bytes" }));
      const calls = server.log.filter((line) => line["requestId"] === requestId && line["msg"] === "store call");
      const kinds = new Set(calls.map((line) => `${line["operation"]} ${line["kind"]}`));
      for (const kind of ["putIfAbsent data", "putIfAbsent uploads", "putIfAbsent log"]) assert.ok(kinds.has(kind), [...kinds].join());
      for (const line of calls) assert.deepEqual([typeof line["outcome"], typeof line["durationMs"]], ["string", "number"]);
    });
  }

  it("names who called, how, and how long it took", async () => {
    const requestId = `line-${randomUUID()}`;
    await clientOf(server.url, { authorization: `Bearer ${TOKEN}`, "x-request-id": requestId }).getRun({ run: "r" });
    await until("it is logged", () => lineOf(server, requestId) !== undefined);
    const { code, protocol, peer, principal, method, durationMs, level, service } = lineOf(server, requestId) ?? {};
    assert.deepEqual([code, protocol, peer, principal, level, service], ["ok", "grpc", "127.0.0.1", "line 1", 30, "dstack-artifacts"]);
    assert.deepEqual([method, typeof durationMs], ["dstack.artifacts.v1.ArtifactsService/GetRun", "number"]);
  });
});

describe("metrics", () => {
  it("count calls, bytes, failures, connections, memory and the store's latency", async () => {
    const metrics = createMetrics();
    const { artifacts } = await openArtifacts("memory:", { onStoreCall: metrics.storeObserver });
    await using server = await startTestServer({ artifacts, metrics });
    await clientOf(server.url).upload(uploadMessages({ run: "r" }, { a: "12345" }));
    await all(clientOf(server.url, undefined, "Connect over HTTP/1.1").download({ reference: toRun("r") }));
    await reasonOf(() => clientOf(server.url).getRun({ run: "nobody" }));
    await until("all have ended", async () => /GetRun"[^}]*\} 0/.test(await metricsOf(server.url)));
    const text = await metricsOf(server.url);
    for (const line of [
      `dstack_artifacts_calls_total{method="${UPLOAD}",protocol="grpc",code="ok"} 1`,
      'dstack_artifacts_calls_total{method="dstack.artifacts.v1.ArtifactsService/Download",protocol="connect",code="ok"} 1',
      'dstack_artifacts_calls_total{method="dstack.artifacts.v1.ArtifactsService/GetRun",protocol="grpc",code="not_found"} 1',
      `dstack_artifacts_call_duration_seconds_count{method="${UPLOAD}"} 1`,
      `dstack_artifacts_calls_in_flight{method="${UPLOAD}"} 0`,
      'dstack_artifacts_file_bytes_total{direction="in"} 5',
      'dstack_artifacts_file_bytes_total{direction="out"} 5',
    ]) {
      assert.ok(text.includes(line), `${line}\n${text}`);
    }
    assert.match(text, /dstack_artifacts_store_call_duration_seconds_count\{operation="putIfAbsent",kind="data",outcome="ok"\} 1/);
    assert.match(text, /dstack_artifacts_store_bytes_total\{operation="putIfAbsent",kind="data"\} [1-9]/);
    assert.match(text, /dstack_artifacts_connections [1-9]/);
    assert.ok(Number(/dstack_artifacts_resident_memory_bytes (\d+)/.exec(text)?.[1]) > 10_000_000);
    await metrics.close();
  });

  it("don't grow with what clients make up", async () => {
    await using server = await startTestServer();
    await withSession(server.url, async (session) => {
      for (let i = 0; i < 20; i++) await rawCall(session, `Made${i}`, Buffer.alloc(0), { "content-type": `application/grpc+x${i}` });
    });
    const text = await metricsOf(server.url);
    assert.doesNotMatch(text, /Made/);
    assert.match(text, /calls_total\{method="other",protocol="http",code="unimplemented"\} 20/);
  });
});

describe("traces", () => {
  const PARENT = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", traceFlags: 1 };
  const exporter = new InMemorySpanExporter();
  before(() => {
    trace.setGlobalTracerProvider(new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] }));
    propagation.setGlobalPropagator(traceparent);
  });
  after(() => {
    trace.disable();
    propagation.disable();
  });

  it("go from the client's span through the call to each call to the store", async () => {
    const metrics = createMetrics();
    const { artifacts } = await openArtifacts("memory:", { onStoreCall: metrics.storeObserver });
    await using server = await startTestServer({ artifacts, metrics });
    const headers = { authorization: `Bearer ${TOKEN}`, traceparent: `00-${PARENT.traceId}-${PARENT.spanId}-01` };
    await clientOf(server.url, headers).upload(uploadMessages({ run: "r" }, { a: "1" }));
    await reasonOf(() => clientOf(server.url, headers, "Connect over HTTP/1.1").getRun({ run: "nobody" }));
    await until("both have ended", () => exporter.getFinishedSpans().filter(({ name }) => name.includes("/")).length >= 2);
    const spans = exporter.getFinishedSpans();
    const upload = spans.find(({ name }) => name === UPLOAD);
    assert.deepEqual([upload?.spanContext().traceId, upload?.parentSpanContext?.spanId], [PARENT.traceId, PARENT.spanId]);
    assert.equal(upload?.attributes["rpc.code"], "ok");
    const puts = spans.filter(
      ({ name, parentSpanContext }) => name === "store putIfAbsent" && parentSpanContext?.spanId === upload?.spanContext().spanId,
    );
    assert.ok(puts.some(({ attributes }) => attributes["store.kind_of_key"] === "data"));
    const failed = spans.find(({ name }) => name.endsWith("/GetRun"));
    assert.deepEqual([failed?.status.code, failed?.attributes["rpc.code"]], [2, "not_found"]);
    await metrics.close();
  });

  /** The part of W3C's trace context that this test speaks. */
  const traceparent: TextMapPropagator = {
    inject() {},
    extract(context, carrier, getter) {
      const [, traceId = "", spanId = ""] = String(getter.get(carrier, "traceparent") ?? "").split("-");
      return traceId === "" ? context : trace.setSpanContext(context, { traceId, spanId, traceFlags: 1, isRemote: true });
    },
    fields: () => ["traceparent"],
  };
});

describe("more calls than are allowed", () => {
  it("are SERVER_BUSY, with a time to come back; how the server does can be asked all the same", async () => {
    await using server = await startTestServer({ limits: { maxCalls: 2 } });
    await withSession(server.url, async (session) => {
      const open = [openCall(session, "Upload"), openCall(session, "Upload")];
      await until("both run", async () => /calls_in_flight\{method="[^"]*Upload"\} 2/.test(await metricsOf(server.url)));
      const { reason, retryAfterMs } = await failureFrom(() => clientOf(server.url).getServerInfo({}));
      assert.deepEqual([reason, retryAfterMs], ["SERVER_BUSY", 1_000]);
      for (const { stream } of open) stream.close();
      await until("there is room again", async () => (await reasonOf(() => clientOf(server.url).getServerInfo({}))) === "nothing failed");
    });
  });

  it("don't count those who are not let in, however slowly they take their answers", async () => {
    await using server = await startTestServer({ limits: { maxCalls: 2 } });
    await withSession(server.url, async (session) => {
      for (let i = 0; i < 20; i++) openCall(session, "Upload", { authorization: "Bearer wrong" });
      await once(openCall(session, "Upload", { authorization: "Bearer wrong" }).stream, "close");
      assert.equal(await reasonOf(() => clientOf(server.url).getServerInfo({})), "nothing failed");
    });
  });
});

async function metricsOf(url: string): Promise<string> {
  const request = requestHttp1(`${url}/metrics`, { headers: { authorization: `Bearer ${TOKEN}` }, agent: false });
  request.end();
  const [response] = await once(request, "response");
  let text = "";
  for await (const part of response) text += part;
  return text;
}
