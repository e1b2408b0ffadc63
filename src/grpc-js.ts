/**
 * For services that are on grpc-js already: its own kind of client, typed, from the same descriptors as everything else.
 *
 * ```ts
 * const client = createArtifactsClient("localhost:7777", credentials.createInsecure());
 * client.getServerInfo(create(GetServerInfoRequestSchema), (error, info) => …);
 * ```
 */
import {
  create,
  type DescMessage,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  type CallOptions,
  type ChannelCredentials,
  type Client,
  type ClientDuplexStream,
  type ClientOptions,
  type ClientReadableStream,
  type ClientUnaryCall,
  type ClientWritableStream,
  type Metadata,
  type MethodDefinition,
  makeClientConstructor,
  type ServiceDefinition,
  type ServiceError,
} from "@grpc/grpc-js";
import { ArtifactsService } from "../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";

export * from "../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
export * from "../gen/ts/dstack/artifacts/v1/entries_pb.ts";
export * from "../gen/ts/dstack/artifacts/v1/errors_pb.ts";

type Methods = typeof ArtifactsService.method;
type Callback<T> = (error: ServiceError | null, response?: T) => void;

type CallOf<M extends DescMethod> = M extends { methodKind: "unary" }
  ? (
      request: MessageInitShape<M["input"]>,
      ...rest: [Metadata | CallOptions, Callback<MessageShape<M["output"]>>] | [Callback<MessageShape<M["output"]>>]
    ) => ClientUnaryCall
  : M extends { methodKind: "client_streaming" }
    ? (
        ...rest: [Metadata | CallOptions, Callback<MessageShape<M["output"]>>] | [Callback<MessageShape<M["output"]>>]
      ) => ClientWritableStream<MessageInitShape<M["input"]>>
    : M extends { methodKind: "server_streaming" }
      ? (request: MessageInitShape<M["input"]>, metadata?: Metadata | CallOptions) => ClientReadableStream<MessageShape<M["output"]>>
      : (metadata?: Metadata | CallOptions) => ClientDuplexStream<MessageInitShape<M["input"]>, MessageShape<M["output"]>>;

/** A grpc-js client with one method for each RPC. */
export type ArtifactsGrpcClient = Client & { readonly [Name in keyof Methods]: CallOf<Methods[Name]> };

/** The service as grpc-js defines services, for clients and servers. */
export const artifactsServiceDefinition: ServiceDefinition = Object.fromEntries(
  Object.entries(ArtifactsService.method).map(([name, method]) => [name, definitionOf(method)]),
);

/** Makes a client; `address` as grpc-js has it: `host:port` or `unix:path`. */
export function createArtifactsClient(
  address: string,
  credentials: ChannelCredentials,
  options?: Partial<ClientOptions>,
): ArtifactsGrpcClient {
  const Constructor = makeClientConstructor(artifactsServiceDefinition, ArtifactsService.typeName);
  return new Constructor(address, credentials, options) as unknown as ArtifactsGrpcClient;
}

function definitionOf(method: DescMethod): MethodDefinition<unknown, unknown> {
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming",
    responseStream: method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming",
    requestSerialize: (message) => serialize(method.input, message),
    requestDeserialize: (bytes) => fromBinary(method.input, bytes),
    responseSerialize: (message) => serialize(method.output, message),
    responseDeserialize: (bytes) => fromBinary(method.output, bytes),
    originalName: method.localName,
  };
}

function serialize(schema: DescMessage, message: unknown): Buffer {
  const bytes = toBinary(schema, create(schema, message as MessageInitShape<DescMessage>));
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
