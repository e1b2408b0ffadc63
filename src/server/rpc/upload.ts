/** Upload: messages in their order, handed on as they come. The same for every protocol and path. */
import type { UploadFinish, UploadRequest, UploadResponse, UploadStart } from "../../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { EntryType } from "../../../gen/ts/dstack/artifacts/v1/entries_pb.ts";
import type { UploadSession, UploadTarget } from "../../artifacts/types.ts";
import { MAX_CHUNK_BYTES } from "../../wire/limits.ts";
import type { UploadMessage } from "../../wire/messages.ts";
import type { Call } from "../calls.ts";
import { abortable } from "./abortable.ts";
import { callOf, type Handlers, projectOf, type Served } from "./context.ts";
import { fromCommitted, invalid, toHeader, toNumber } from "./convert.ts";

export function uploadHandlers(served: Served): Handlers<"upload"> {
  return { upload: (requests, context) => receiveUpload(served, oneByOne(requests), callOf(context)) };
}

async function* oneByOne(requests: AsyncIterable<UploadRequest>): AsyncGenerator<readonly UploadMessage[]> {
  for await (const { message } of requests) yield [message];
}

/**
 * Carries out an upload. However it ends but with an answer, nothing is committed, and what the store has by then can be gone on with.
 *
 * @throws whatever the domain throws, and MESSAGE_INVALID for messages out of order.
 */
export function receiveUpload(served: Served, batches: AsyncIterable<readonly UploadMessage[]>, call: Call): Promise<UploadResponse> {
  return call.track(receive(served, batches, call));
}

async function receive(served: Served, batches: AsyncIterable<readonly UploadMessage[]>, call: Call): Promise<UploadResponse> {
  const receiver = createReceiver(served, call);
  try {
    try {
      for await (const batch of abortable(batches, call.signal)) {
        const answer = await receiver.take(batch);
        if (answer !== undefined) return answer;
      }
    } catch (error) {
      // A client that is gone meant what it said before it went.
      if (!receiver.complete || !call.signal.aborted) throw error;
    }
    return await receiver.finish();
  } finally {
    await receiver.close();
  }
}

/** One upload's messages on their way to its session, each where it may come. */
interface Receiver {
  /** Whether the last message came. */
  readonly complete: boolean;
  /** Takes messages; gives the answer at once if the upload was committed before. */
  take(batch: readonly UploadMessage[]): Promise<UploadResponse | undefined>;
  /** Commits, once no more messages come: one that comes after `finish` must not be a matter of luck. */
  finish(): Promise<UploadResponse>;
  close(): Promise<void>;
}

function createReceiver(served: Served, call: Call): Receiver {
  let session: UploadSession | undefined;
  let letGo: (() => void) | undefined;
  /** Whether a file was begun and not ended. */
  let inFile = false;
  let counts: { files: number; bytes: number } | undefined;

  async function take(batch: readonly UploadMessage[]): Promise<UploadResponse | undefined> {
    let bytes = 0;
    for (const message of batch) {
      let wait: Promise<void> | undefined;
      if (counts !== undefined) throw invalid("a message after finish");
      if (message.case === "chunk") {
        const chunk = message.value;
        if (session === undefined) throw invalid("chunk before start");
        if (!inFile) throw invalid("chunk without a file");
        if (chunk.length > MAX_CHUNK_BYTES) throw invalid(`a chunk of ${chunk.length} bytes: at most ${MAX_CHUNK_BYTES} are allowed`);
        bytes += chunk.length;
        wait = session.chunk(chunk);
      } else if (message.case === "start") {
        if (session !== undefined) throw invalid("a second start");
        const target = targetOf(served, message.value, call);
        letGo = served.uploadStreams.begin(target, call.signal);
        // Without the call's signal: when the client is gone, what arrived is still persisted, and a finish that came is carried out.
        session = await served.artifacts.startUpload(target);
        // A client that never got the answer: it needn't send all again to have it.
        if (session.committed !== undefined) return fromCommitted(session.committed);
      } else if (session === undefined) {
        throw invalid(`${nameOf(message)} before start`);
      } else if (message.case === "file") {
        wait = session.file(toHeader(message.value));
        inFile = message.value.type === EntryType.FILE;
      } else if (message.case === "skip") {
        if (!inFile) throw invalid("skip without a file");
        if (message.value === 0n) throw invalid("skip of no bytes");
        wait = session.skip(toNumber(message.value, "skip"));
      } else if (message.case === "fileEnd") {
        if (!inFile) throw invalid("file_end without a file");
        inFile = false;
        wait = session.endFile({ size: toNumber(message.value.size, "the file's size"), crc32c: message.value.crc32c });
      } else if (message.case === "finish") {
        if (inFile) throw invalid("finish before file_end");
        counts = countsOf(message.value);
      } else {
        throw invalid("a message of no kind, or of one that this server doesn't know");
      }
      if (wait !== undefined) await wait;
    }
    if (bytes > 0) call.metrics.transferred("in", bytes);
    return undefined;
  }

  return {
    get complete() {
      return counts !== undefined;
    },
    take,
    async finish() {
      if (session === undefined) throw invalid("the stream ended without start");
      if (counts === undefined) throw invalid("the stream ended without finish: nothing was committed");
      return fromCommitted(await session.finish(counts));
    },
    async close() {
      await session?.close();
      letGo?.();
    },
  };
}

function targetOf(served: Served, start: UploadStart, call: Call): UploadTarget {
  const project = projectOf(served, call, start.project);
  const { uploadId, target } = start;
  if (target.case === "run") return { project, uploadId, run: target.value };
  if (target.case === "tag") return { project, uploadId, tag: target.value };
  return { project, uploadId, run: served.run, runAssigned: true };
}

function countsOf({ files, bytes }: UploadFinish): { files: number; bytes: number } {
  return { files: toNumber(files, "the number of files"), bytes: toNumber(bytes, "the number of bytes") };
}

function nameOf({ case: name }: UploadMessage): string {
  return name === "fileEnd" ? "file_end" : (name ?? "a message of no kind");
}
