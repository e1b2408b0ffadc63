/** The typed client for services that are on grpc-js: every kind of call, over a socket and over TCP with a token. */
import { strict as assert } from "node:assert";
import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { credentials, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { ArtifactsService } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import {
  type ArtifactsGrpcClient,
  artifactsServiceDefinition,
  createArtifactsClient,
  type DownloadResponse,
  EntryType,
  GetServerInfoRequestSchema,
  type GetServerInfoResponse,
  type UploadResponse,
} from "../../src/grpc-js.ts";
import { crc32c } from "../../src/lib/crc32c.ts";
import { parseTokens } from "../../src/server/tokens.ts";
import { bytesOf } from "../support/tree.ts";
import { SERVER_RUN, serve, type TempFolder, type TestServer, tempFolder } from "./support.ts";

const TOKEN = "a-token-for-tests";
const CHUNK_BYTES = 256 * 1024;
const CONTENT = bytesOf(1, 3 * 1024 * 1024 + 1);

function unary<T>(call: (done: (error: ServiceError | null, answer?: T) => void) => unknown): Promise<T> {
  return new Promise((resolve, reject) => {
    call((error, answer) => (error ? reject(error) : resolve(answer as T)));
  });
}

function upload(client: ArtifactsGrpcClient, metadata: Metadata): Promise<UploadResponse> {
  return unary((done) => {
    const call = client.upload(metadata, done);
    call.write({ message: { case: "start", value: { uploadId: randomUUID() } } });
    call.write({ message: { case: "file", value: { path: "a", type: EntryType.FILE, size: BigInt(CONTENT.length) } } });
    for (let at = 0; at < CONTENT.length; at += CHUNK_BYTES)
      call.write({ message: { case: "chunk", value: CONTENT.subarray(at, at + CHUNK_BYTES) } });
    call.write({ message: { case: "fileEnd", value: { size: BigInt(CONTENT.length), crc32c: crc32c(CONTENT) } } });
    call.write({ message: { case: "finish", value: { files: 1n, bytes: BigInt(CONTENT.length) } } });
    call.end();
  });
}

describe("the client for grpc-js", () => {
  let folder: TempFolder;
  let server: TestServer;
  before(async () => {
    folder = tempFolder();
    const listen = [`unix://${folder.path}/server.sock`, "http://127.0.0.1:0"];
    server = await serve("memory:", folder.path, { listen, tokens: parseTokens(TOKEN, "test") });
  });
  after(async () => {
    await server.close();
    folder[Symbol.dispose]();
  });

  it("has a method for each call", () => {
    assert.deepEqual(Object.keys(artifactsServiceDefinition), Object.keys(ArtifactsService.method));
  });

  for (const [i, name] of ["a socket", "TCP with a token"].entries()) {
    describe(`over ${name}`, () => {
      const metadata = new Metadata();
      if (i === 1) metadata.set("authorization", `Bearer ${TOKEN}`);
      let client: ArtifactsGrpcClient;
      before(() => {
        const url = server.addresses[i] as string;
        client = createArtifactsClient(i === 1 ? new URL(url).host : `unix:${new URL(url).pathname}`, credentials.createInsecure());
      });
      after(() => client.close());

      it("asks and is answered", async () => {
        const info = await unary<GetServerInfoResponse>((done) => client.getServerInfo(create(GetServerInfoRequestSchema), metadata, done));
        assert.deepEqual([info.run, info.storeKind], [SERVER_RUN, "memory"]);
      });

      it("uploads, and downloads what was uploaded", async () => {
        const { run, commit, bytes } = await upload(client, metadata);
        assert.deepEqual([run, bytes], [SERVER_RUN, BigInt(CONTENT.length)]);
        const reference = { target: { case: "run" as const, value: { name: run, commit } } };
        const parts: Uint8Array[] = [];
        for await (const { message } of client.download({ reference }, metadata) as AsyncIterable<DownloadResponse>)
          if (message.case === "chunk") parts.push(message.value);
        assert.ok(Buffer.concat(parts).equals(CONTENT));
      });

      it("is told why a call failed", async () => {
        await assert.rejects(
          unary((done) => client.getRun({ run: "nobody" }, metadata, done)),
          (error: ServiceError) => error.code === status.NOT_FOUND && error.details === 'run "nobody" not found',
        );
      });

      it("cancels", async () => {
        const run = `cancelled-${i}`;
        const failed = unary((done) => {
          const call = client.upload(metadata, done);
          call.write({ message: { case: "start", value: { uploadId: randomUUID(), target: { case: "run", value: run } } } });
          call.cancel();
        });
        await assert.rejects(failed, (error: ServiceError) => error.code === status.CANCELLED);
        await assert.rejects(
          unary((done) => client.getRun({ run }, metadata, done)),
          (error: ServiceError) => error.code === status.NOT_FOUND,
        );
      });
    });
  }

  it("is refused without a token over TCP", async () => {
    const client = createArtifactsClient(new URL(server.addresses[1] as string).host, credentials.createInsecure());
    await assert.rejects(
      unary((done) => client.getServerInfo({}, done)),
      (error: ServiceError) => error.code === status.UNAUTHENTICATED,
    );
    client.close();
  });
});
