/** The client's end of the hot path without files: sends one buffer over and over, discards what comes. */
import { create } from "@bufbuild/protobuf";
import { DownloadRequestSchema, UploadFinishSchema, UploadStartSchema } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { EntryHeaderSchema, EntryType, FileEndSchema } from "../../gen/ts/dstack/artifacts/v1/entries_pb.ts";
import { createHttp2Transfers } from "../../src/client/transfers-http2.ts";
import type { UploadMessage } from "../../src/wire/messages.ts";
import type { Role, Task } from "../worker.ts";

/** Chunks of a large file that are sent at once, as by our client. */
const CHUNKS_IN_BATCH = 2;
/** Small files that are sent at once. */
const FILES_IN_BATCH = 64;

async function* messages({ files, bytes, chunkBytes }: Task): AsyncGenerator<readonly UploadMessage[]> {
  const chunk: UploadMessage = { case: "chunk", value: new Uint8Array(Math.min(bytes, chunkBytes)).fill(1) };
  let batch: UploadMessage[] = [{ case: "start", value: create(UploadStartSchema, { uploadId: "0123456789abcdef" }) }];
  for (let i = 0; i < files; i++) {
    batch.push({
      case: "file",
      value: create(EntryHeaderSchema, { path: `folder/file-${i}`, type: EntryType.FILE, size: BigInt(bytes), mode: 0o644 }),
    });
    for (let left = bytes; left > 0; left -= chunkBytes) {
      batch.push(chunk);
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
  batch.push({ case: "finish", value: create(UploadFinishSchema, { files: BigInt(files), bytes: BigInt(files * bytes) }) });
  yield batch;
}

export async function start({ url }: { url: string }): Promise<Role> {
  const transfers = createHttp2Transfers({ url });
  return {
    async run(task) {
      const { files, bytes, chunkBytes } = task;
      let got: number;
      if (task.direction === "up") {
        got = Number((await transfers.upload(messages(task))).bytes);
      } else {
        got = 0;
        for await (const batch of transfers.download(create(DownloadRequestSchema, { path: `${files}x${bytes}x${chunkBytes}` }))) {
          for (const message of batch) if (message.case === "chunk") got += message.value.length;
        }
      }
      if (got !== files * bytes) throw new Error(`${got} bytes of ${files * bytes} arrived`);
    },
    close: () => transfers.close(),
  };
}
