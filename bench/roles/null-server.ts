/** The server's end of the hot path without anything behind it: uploads are discarded, downloads made of one buffer. */

import { createServer } from "node:http2";
import { create } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { DownloadFinishSchema, DownloadStartSchema, UploadResponseSchema } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { EntryHeaderSchema, EntryType, FileEndSchema } from "../../gen/ts/dstack/artifacts/v1/entries_pb.ts";
import { createHotPath } from "../../src/server/hot-path.ts";
import { CONNECTION_WINDOW_BYTES, MAX_FRAME_BYTES, STREAM_WINDOW_BYTES } from "../../src/wire/limits.ts";
import type { DownloadMessage } from "../../src/wire/messages.ts";
import type { Role } from "../worker.ts";
import { listen } from "./endpoint.ts";

/** Chunks of a large file that are given at once, as by our server. */
const CHUNKS_IN_BATCH = 4;
/** Small files that are given at once. */
const FILES_IN_BATCH = 64;

export async function start({ tcp = false }: { tcp?: boolean }): Promise<Role> {
  const hotPath = createHotPath({
    async upload(messages) {
      let files = 0n;
      let bytes = 0;
      for await (const batch of messages) {
        for (const message of batch) {
          if (message.case === "chunk") bytes += message.value.length;
          else if (message.case === "fileEnd") files++;
        }
      }
      return create(UploadResponseSchema, { run: "null", commit: 1n, files, bytes: BigInt(bytes) });
    },
    async *download(request) {
      const [files = 1, bytes = 0, chunkBytes = 1] = request.path.split("x").map(Number);
      const chunk: DownloadMessage = { case: "chunk", value: new Uint8Array(chunkBytes).fill(1) };
      yield [{ case: "start", value: create(DownloadStartSchema, { run: "null", commit: 1n }) }];
      let batch: DownloadMessage[] = [];
      for (let i = 0; i < files; i++) {
        batch.push({
          case: "file",
          value: create(EntryHeaderSchema, { path: `folder/file-${i}`, type: EntryType.FILE, size: BigInt(bytes), mode: 0o644, crc32c: 1 }),
        });
        for (let left = bytes; left > 0; left -= chunkBytes) {
          batch.push(left >= chunkBytes ? chunk : { case: "chunk", value: (chunk.value as Uint8Array).subarray(0, left) });
          if (bytes > chunkBytes && batch.length >= CHUNKS_IN_BATCH) {
            yield batch;
            batch = [];
          }
        }
        batch.push({ case: "fileEnd", value: create(FileEndSchema, { size: BigInt(bytes), crc32c: 1 }) });
        if (batch.length > 3 * FILES_IN_BATCH) {
          yield batch;
          batch = [];
        }
      }
      batch.push({ case: "finish", value: create(DownloadFinishSchema, { files: BigInt(files), bytes: BigInt(files * bytes) }) });
      yield batch;
    },
    toError: (error) => ConnectError.from(error),
  });
  const server = createServer({ settings: { initialWindowSize: STREAM_WINDOW_BYTES, maxFrameSize: MAX_FRAME_BYTES } });
  server.on("session", (session) => session.setLocalWindowSize(CONNECTION_WINDOW_BYTES));
  server.on("stream", (stream, headers) => {
    if (!hotPath(stream, headers)) stream.respond({ ":status": 404 }, { endStream: true });
  });
  const endpoint = await listen(server, tcp);
  return {
    url: endpoint.url,
    async close() {
      server.close();
      await endpoint.close();
    },
  };
}
