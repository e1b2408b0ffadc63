/** What is told of an upload whose stream has just broken: all that had arrived, once the server has stored it. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { Code, ConnectError } from "@connectrpc/connect";
import { createUploadStreams } from "../../src/server/rpc/upload-streams.ts";
import { servers } from "../support/domain.ts";
import { holdFirst, puts } from "../support/intercepted-driver.ts";
import { clientOf, say, startTestServer, type TestServer, until, uploadMessages } from "./support.ts";

const CONTENT = "what has arrived";
/** The hot path, and two ways to connect's. */
const WAYS = ["gRPC", "gRPC-Web over HTTP/1.1", "Connect over HTTP/2"];

describe("what is persisted of an upload", () => {
  let server: TestServer;
  let driver: Awaited<ReturnType<ReturnType<typeof servers>["open"]>>["driver"];

  beforeEach(async () => {
    const artifacts = await servers().open({ settings: { dataObjectBytes: CONTENT.length } });
    driver = artifacts.driver;
    server = await startTestServer({ artifacts });
  });
  afterEach(() => server[Symbol.asyncDispose]());

  /** An upload of which one data object is on its way into the store, and its stream open. */
  async function begin(way: string) {
    const uploadId = randomUUID();
    const hold = holdFirst(puts(/\/data\//));
    driver.interceptor = hold.interceptor;
    const cut = new AbortController();
    async function* messages() {
      for await (const each of uploadMessages({ run: "run", uploadId }, { x: CONTENT })) {
        if (each.message.case === "finish") break;
        yield each;
      }
      yield say("file", { path: "y", type: 1 });
      await new Promise((resolve) => cut.signal.addEventListener("abort", resolve));
    }
    const upload = clientOf(server.url, undefined, way).upload(messages(), { signal: cut.signal });
    await hold.reached;
    return { uploadId, release: hold.release, cut: () => cut.abort(), ended: assert.rejects(upload) };
  }

  const spansOf = async (uploadId: string) =>
    (await clientOf(server.url).getUpload({ uploadId })).files.map(({ path, spans }) => [path, Number(spans[0]?.length)]);

  for (const way of WAYS) {
    it(`is told when the broken stream's bytes are stored (${way})`, async () => {
      const { uploadId, release, cut, ended } = await begin(way);
      cut();
      await ended;
      await until("the server knows", () => server.log.some(({ msg, code }) => msg === "call" && code === "canceled"));
      const spans = spansOf(uploadId);
      const early = await Promise.race([spans, new Promise((resolve) => setTimeout(resolve, 50, "not yet"))]);
      release();
      assert.deepEqual([early, await spans], ["not yet", [["x", CONTENT.length]]]);
    });
  }

  it("is told at once while its stream goes on", async () => {
    const { uploadId, release, cut, ended } = await begin("gRPC");
    assert.deepEqual(await spansOf(uploadId), []);
    release();
    cut();
    await ended;
  });

  it("keeps nobody waiting beyond the call's deadline", async () => {
    const { uploadId, release, cut, ended } = await begin("gRPC");
    cut();
    await ended;
    await until("the server knows", () => server.log.some(({ msg, code }) => msg === "call" && code === "canceled"));
    const late = clientOf(server.url).getUpload({ uploadId }, { timeoutMs: 50 });
    await assert.rejects(late, (error) => ConnectError.from(error).code === Code.DeadlineExceeded);
    release();
  });

  it("keeps nobody waiting for a store that takes no bytes", async () => {
    const streams = createUploadStreams(1);
    const end = streams.begin({ project: "p", uploadId: "u" }, AbortSignal.abort());
    await streams.letGo("p", "u", new AbortController().signal);
    end();
  });
});
