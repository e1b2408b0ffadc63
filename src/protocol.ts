/** The generated stubs alone, for clients and servers that want nothing but the protocol: with connect's transports, or any other. */
export * from "../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
export * from "../gen/ts/dstack/artifacts/v1/entries_pb.ts";
export * from "../gen/ts/dstack/artifacts/v1/errors_pb.ts";
