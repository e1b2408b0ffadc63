/** Server reflection, v1 and v1alpha, which differ in their names alone: so that grpcurl needs no proto files. */
import { type DescFile, type DescMessage, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, type ServiceImpl } from "@connectrpc/connect";
import { file_dstack_artifacts_v1_artifacts } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { file_dstack_artifacts_v1_errors } from "../../gen/ts/dstack/artifacts/v1/errors_pb.ts";
import { file_google_rpc_error_details } from "../../gen/ts/google/rpc/error_details_pb.ts";
import {
  file_grpc_reflection_v1_reflection,
  type ServerReflection,
  type ServerReflectionRequest,
} from "../../gen/ts/grpc/reflection/v1/reflection_pb.ts";
import { file_grpc_reflection_v1alpha_reflection } from "../../gen/ts/grpc/reflection/v1alpha/reflection_pb.ts";
import { file_health_v1_health } from "../../gen/ts/health/v1/health_pb.ts";

const SERVED = [
  file_dstack_artifacts_v1_artifacts,
  file_health_v1_health,
  file_grpc_reflection_v1_reflection,
  file_grpc_reflection_v1alpha_reflection,
];
/** Not part of any call's messages, but of what errors carry. */
const ALSO = [file_dstack_artifacts_v1_errors, file_google_rpc_error_details];

interface Index {
  readonly files: Map<string, DescFile>;
  readonly symbols: Map<string, DescFile>;
}

export function reflectionService(): ServiceImpl<typeof ServerReflection> {
  const index: Index = { files: new Map(), symbols: new Map() };
  for (const file of [...SERVED, ...ALSO]) addFile(index, file);
  return {
    async *serverReflectionInfo(requests) {
      for await (const request of requests) {
        yield { validHost: request.host, originalRequest: request, messageResponse: answer(index, request.messageRequest) };
      }
    },
  };
}

function answer(index: Index, asked: ServerReflectionRequest["messageRequest"]) {
  switch (asked.case) {
    case "fileByFilename":
      return found(index.files.get(asked.value), asked.value);
    case "fileContainingSymbol":
      return found(index.symbols.get(asked.value), asked.value);
    case "listServices": {
      const service = SERVED.flatMap((file) => file.services).map((each) => ({ name: each.typeName }));
      return { case: "listServicesResponse" as const, value: { service } };
    }
    case "allExtensionNumbersOfType":
      if (!index.symbols.has(asked.value)) return missing(asked.value);
      return { case: "allExtensionNumbersResponse" as const, value: { baseTypeName: asked.value, extensionNumber: [] } };
    case "fileContainingExtension":
      return missing(`extension ${asked.value.extensionNumber} of ${asked.value.containingType}`);
    case undefined:
      return failure(Code.InvalidArgument, "nothing was asked for");
  }
}

/** The file with all that it needs, itself first: some clients don't ask for the others. */
function found(file: DescFile | undefined, name: string) {
  if (file === undefined) return missing(name);
  const all = new Set<DescFile>();
  const add = (each: DescFile) => {
    if (all.has(each)) return;
    all.add(each);
    each.dependencies.forEach(add);
  };
  add(file);
  const fileDescriptorProto = [...all].map((each) => toBinary(FileDescriptorProtoSchema, each.proto));
  return { case: "fileDescriptorResponse" as const, value: { fileDescriptorProto } };
}

function missing(what: string) {
  return failure(Code.NotFound, `${what} not found`);
}

function failure(errorCode: Code, errorMessage: string) {
  return { case: "errorResponse" as const, value: { errorCode, errorMessage } };
}

function addFile(index: Index, file: DescFile): void {
  if (index.files.has(file.proto.name)) return;
  index.files.set(file.proto.name, file);
  for (const each of file.dependencies) addFile(index, each);
  const add = (symbol: string) => index.symbols.set(symbol, file);
  const addMessage = (message: DescMessage): void => {
    add(message.typeName);
    for (const field of message.fields) add(`${message.typeName}.${field.name}`);
    for (const each of message.nestedEnums) add(each.typeName);
    message.nestedMessages.forEach(addMessage);
  };
  file.messages.forEach(addMessage);
  for (const each of file.enums) {
    add(each.typeName);
    for (const value of each.values) add(`${each.typeName.slice(0, each.typeName.lastIndexOf("."))}.${value.name}`);
  }
  for (const service of file.services) {
    add(service.typeName);
    for (const method of service.methods) add(`${service.typeName}.${method.name}`);
  }
}
