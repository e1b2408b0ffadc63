/** What differs between streams: which messages each one carries. */
import { create, type DescField, type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";
import { DownloadResponseSchema, UploadRequestSchema } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { decodeEntry, encodeFileEnd, encodeHeader, tagOf } from "./entries.ts";
import type { DownloadMessage, UploadMessage } from "./messages.ts";

/** How messages of one stream become bytes and back. */
export interface Codec<M> {
  /** The byte that a chunk's field begins with: its number and "length-delimited". */
  readonly chunkTag: number;
  /** Whole messages other than chunks, and chunks in an unusual form. Throws what protobuf-es throws. */
  readonly decode: (bytes: Uint8Array) => M;
  /** Whole messages, chunks too. */
  readonly encode: (message: M) => Uint8Array;
}

/** Nobody here looks at fields of newer versions, so they aren't kept. */
const readOptions = { readUnknownFields: false };

/** No byte: such a stream has no chunks. */
const NO_TAG = -1;

/** A stream of messages that are taken whole: the request of a download, the answer to an upload. */
export function wholeCodec<D extends DescMessage>(schema: D): Codec<{ readonly case: "whole"; readonly value: MessageShape<D> }> {
  return {
    chunkTag: NO_TAG,
    decode: (bytes) => ({ case: "whole", value: fromBinary(schema, bytes, readOptions) }),
    encode: (message) => toBinary(schema, message.value),
  };
}

/** The numbers of the two fields that are read and written by hand. */
function entriesOf({ file, fileEnd }: { readonly file: DescField; readonly fileEnd: DescField }) {
  return { file: file.number, fileEnd: fileEnd.number };
}

const uploadRequestEntries = entriesOf(UploadRequestSchema.field);
const downloadResponseEntries = entriesOf(DownloadResponseSchema.field);

/** A message of UploadRequest. */
export const uploadCodec: Codec<UploadMessage> = {
  chunkTag: tagOf(UploadRequestSchema.field.chunk.number, WireType.LengthDelimited),
  decode: (bytes) => decodeEntry(bytes, uploadRequestEntries) ?? fromBinary(UploadRequestSchema, bytes, readOptions).message,
  encode(message) {
    const { file, fileEnd } = uploadRequestEntries;
    if (message.case === "file") return encodeHeader(file, message.value);
    if (message.case === "fileEnd") return encodeFileEnd(fileEnd, message.value);
    return toBinary(UploadRequestSchema, create(UploadRequestSchema, { message }));
  },
};

/** A message of DownloadResponse. */
export const downloadCodec: Codec<DownloadMessage> = {
  chunkTag: tagOf(DownloadResponseSchema.field.chunk.number, WireType.LengthDelimited),
  decode: (bytes) => decodeEntry(bytes, downloadResponseEntries) ?? fromBinary(DownloadResponseSchema, bytes, readOptions).message,
  encode(message) {
    const { file, fileEnd } = downloadResponseEntries;
    if (message.case === "file") return encodeHeader(file, message.value);
    if (message.case === "fileEnd") return encodeFileEnd(fileEnd, message.value);
    return toBinary(DownloadResponseSchema, create(DownloadResponseSchema, { message }));
  },
};
