import assert from "node:assert/strict";
import { fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import { ArtifactsService } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { ServerReflection, type ServerReflectionRequest } from "../../gen/ts/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionAlpha } from "../../gen/ts/grpc/reflection/v1alpha/reflection_pb.ts";
import { all, startTestServer, stream, type TestServer, TRANSPORTS } from "./support.ts";

type Asked = ServerReflectionRequest["messageRequest"];
const NOT_FOUND = 5;

describe("reflection", () => {
  let server: TestServer;
  before(async () => {
    server = await startTestServer();
  });
  after(() => server[Symbol.asyncDispose]());

  for (const [version, service] of [
    ["v1", ServerReflection],
    ["v1alpha", ServerReflectionAlpha],
  ] as const) {
    describe(version, () => {
      const ask = async (...asked: Asked[]) => {
        const client = createClient(service, (TRANSPORTS["gRPC"] as (typeof TRANSPORTS)[string])(server.url));
        const answers = await all(client.serverReflectionInfo(stream(asked.map((messageRequest) => ({ host: "h", messageRequest })))));
        return answers.map(({ messageResponse }) => messageResponse);
      };
      /** The files that an answer holds, by name. */
      const filesIn = (answer: Awaited<ReturnType<typeof ask>>[number] | undefined) => {
        assert.equal(answer?.case, "fileDescriptorResponse", JSON.stringify(answer));
        const files = answer?.case === "fileDescriptorResponse" ? answer.value.fileDescriptorProto : [];
        return files.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
      };

      it("lists what is served", async () => {
        const [listed] = await ask({ case: "listServices", value: "" });
        const names = listed?.case === "listServicesResponse" ? listed.value.service.map(({ name }) => name) : [];
        assert.deepEqual(names.sort(), [
          "dstack.artifacts.v1.ArtifactsService",
          "grpc.health.v1.Health",
          "grpc.reflection.v1.ServerReflection",
          "grpc.reflection.v1alpha.ServerReflection",
        ]);
      });

      it("gives each service's file with all that it imports, so that nothing needs to be asked again", async () => {
        for (const symbol of [ArtifactsService.typeName, `${ArtifactsService.typeName}.Upload`, "grpc.health.v1.Health"]) {
          const [answer] = await ask({ case: "fileContainingSymbol", value: symbol });
          const files = filesIn(answer);
          const names = new Set(files.map(({ name }) => name));
          for (const { dependency } of files) for (const each of dependency) assert.ok(names.has(each), `${symbol}: ${each}`);
          assert.ok(
            files[0]?.service.some(({ name }) => symbol.includes(name)),
            symbol,
          );
        }
      });

      it("knows messages, fields, enums and their values, and what errors carry", async () => {
        for (const symbol of [
          "dstack.artifacts.v1.UploadRequest",
          "dstack.artifacts.v1.UploadRequest.chunk",
          "dstack.artifacts.v1.EntryType",
          "dstack.artifacts.v1.ERROR_REASON_TAG_EXISTS",
          "google.rpc.ErrorInfo",
          "google.protobuf.Timestamp",
        ]) {
          assert.ok(filesIn((await ask({ case: "fileContainingSymbol", value: symbol }))[0]).length > 0, symbol);
        }
        const name = "dstack/artifacts/v1/errors.proto";
        assert.equal(filesIn((await ask({ case: "fileByFilename", value: name }))[0])[0]?.name, name);
      });

      it("says of what it doesn't have that it isn't found, and answers many questions in their order", async () => {
        const answers = await ask(
          { case: "fileContainingSymbol", value: "no.such.Thing" },
          { case: "fileByFilename", value: "../../etc/passwd" },
          { case: "fileContainingSymbol", value: "constructor" },
          { case: "allExtensionNumbersOfType", value: "no.such.Thing" },
          {
            case: "fileContainingExtension",
            value: { $typeName: "grpc.reflection.v1.ExtensionRequest", containingType: "x", extensionNumber: 1 },
          },
          { case: "listServices", value: "" },
        );
        assert.deepEqual(
          answers.map((each) => (each.case === "errorResponse" ? each.value.errorCode : each.case)),
          [NOT_FOUND, NOT_FOUND, NOT_FOUND, NOT_FOUND, NOT_FOUND, "listServicesResponse"],
        );
      });
    });
  }
});
