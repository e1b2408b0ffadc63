/**
 * The one message of a unary or server-streaming request on its way to connect: looked at before the call begins, so that what is wrong
 * with it is told with the service's own reasons, in every protocol the same. What streams in is looked at message by message elsewhere.
 */
import { type DescMessage, fromBinary, fromJson } from "@bufbuild/protobuf";
import { MAX_MESSAGE_BYTES } from "../wire/limits.ts";
import { PREFIX_BYTES } from "../wire/reader.ts";
import { invalid } from "./rpc/convert.ts";

/** Gives the body as it came, once it is whole and known to be right. Throws ArtifactsFailure. */
export async function* checkedMessage(
  body: AsyncIterable<Uint8Array>,
  contentType: string,
  schema: DescMessage,
): AsyncGenerator<Uint8Array, void, undefined> {
  const enveloped = /^application\/(grpc|connect\+)/.test(contentType);
  const bytes = await readAll(body, enveloped ? MAX_MESSAGE_BYTES + PREFIX_BYTES : MAX_MESSAGE_BYTES, enveloped);
  const message = enveloped ? unwrap(bytes) : bytes;
  try {
    if (contentType.includes("json")) fromJson(schema, JSON.parse(message.toString()), { ignoreUnknownFields: true });
    else fromBinary(schema, message);
  } catch (error) {
    throw invalid(`the message can't be decoded: ${error instanceof Error ? error.message : error}`);
  }
  yield bytes;
}

async function readAll(body: AsyncIterable<Uint8Array>, maxBytes: number, enveloped: boolean): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of body) {
    size += part.length;
    if (size > maxBytes) throw invalid(`more than the ${MAX_MESSAGE_BYTES} bytes came that a message may have`);
    parts.push(part);
    // What is promised is refused before it comes.
    if (enveloped && size >= PREFIX_BYTES && size - part.length < PREFIX_BYTES) checkLength(Buffer.concat(parts).readUInt32BE(1));
  }
  return Buffer.concat(parts);
}

function checkLength(length: number): void {
  if (length > MAX_MESSAGE_BYTES) throw invalid(`a message of ${length} bytes is larger than the limit of ${MAX_MESSAGE_BYTES}`);
}

/** The message without its prefix. */
function unwrap(bytes: Buffer): Buffer {
  if (bytes.length === 0) throw invalid("one message was expected, and none came");
  if (bytes.length < PREFIX_BYTES) throw invalid("the request ended in the middle of a message");
  const flags = bytes.readUInt8(0);
  if (flags !== 0) throw invalid(`a message with flags ${flags} in a request without compression`);
  const length = bytes.readUInt32BE(1);
  if (bytes.length < PREFIX_BYTES + length) throw invalid("the request ended in the middle of a message");
  if (bytes.length > PREFIX_BYTES + length) throw invalid("one message was expected, and more came");
  return bytes.subarray(PREFIX_BYTES);
}
