/**
 * A client of google.bytestream, as bazel-remote serves it, on stock grpc-js: one file up, from disk, or down, to disk. The digest that names the
 * file is made before, outside of what is measured.
 */
import { createHash, randomUUID } from "node:crypto";
import { once } from "node:events";
import { createReadStream, createWriteStream } from "node:fs";
import { join } from "node:path";
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { Client, type ClientReadableStream, credentials } from "@grpc/grpc-js";
import type { Role } from "../worker.ts";

const MIB = 1024 * 1024;
/** Fields of WriteRequest and ReadRequest; `data` is that of ReadResponse as well. */
const RESOURCE_NAME = 1;
const WRITE_OFFSET = 2;
const FINISH_WRITE = 3;
const DATA = 10;

export async function start({ url }: { url: string }): Promise<Role> {
  const client = new Client(url, credentials.createInsecure(), { "grpc.max_receive_message_length": -1 });
  return {
    /** Before the first transfer of a file, in a task of no direction, its digest is made. */
    async run({ direction, bytes, source, target }) {
      const path = join(source as string, "folder-0", "file-0.bin");
      const name = `blobs/${await digestOf(path)}/${bytes}`;
      if (direction === "up") await write(client, path, `uploads/${randomUUID()}/${name}`);
      else if (direction === "down") await read(client, join(target as string, "file"), name);
    },
    async close() {
      client.close();
    },
  };
}

const digests = new Map<string, string>();

async function digestOf(path: string): Promise<string> {
  let digest = digests.get(path);
  if (digest === undefined) {
    const hash = createHash("sha256");
    for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
    digests.set(path, (digest = hash.digest("hex")));
  }
  return digest;
}

const asIs = (bytes: Buffer): Buffer => bytes;

async function write(client: Client, path: string, name: string): Promise<void> {
  let answered = (_error: Error | null): void => {};
  const ended = new Promise<void>((resolve, reject) => {
    answered = (error) => (error ? reject(error) : resolve());
  });
  const call = client.makeClientStreamRequest("/google.bytestream.ByteStream/Write", asIs, asIs, (error) => answered(error));
  let offset = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: MIB }) as AsyncIterable<Buffer>) {
    const message = new BinaryWriter();
    if (offset === 0) message.tag(RESOURCE_NAME, WireType.LengthDelimited).string(name);
    else message.tag(WRITE_OFFSET, WireType.Varint).int64(offset);
    message.tag(DATA, WireType.LengthDelimited).bytes(chunk);
    if (!call.write(Buffer.from(message.finish().buffer))) await once(call, "drain");
    offset += chunk.length;
  }
  const last = new BinaryWriter().tag(WRITE_OFFSET, WireType.Varint).int64(offset).tag(FINISH_WRITE, WireType.Varint).bool(true);
  call.write(Buffer.from(last.finish()));
  call.end();
  await ended;
}

async function read(client: Client, path: string, name: string): Promise<void> {
  const request = Buffer.from(new BinaryWriter().tag(RESOURCE_NAME, WireType.LengthDelimited).string(name).finish());
  const call: ClientReadableStream<Uint8Array> = client.makeServerStreamRequest(
    "/google.bytestream.ByteStream/Read",
    asIs,
    dataOf,
    request,
  );
  const file = createWriteStream(path, { highWaterMark: MIB });
  for await (const data of call as AsyncIterable<Uint8Array>) if (!file.write(data)) await once(file, "drain");
  file.end();
  await once(file, "close");
}

function dataOf(message: Buffer): Uint8Array {
  const reader = new BinaryReader(message);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === DATA) return reader.bytes();
    reader.skip(wireType, field);
  }
  return new Uint8Array();
}
