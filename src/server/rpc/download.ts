/** Download: the domain's events as messages. The same for every protocol and path. */
import { create } from "@bufbuild/protobuf";
import {
  DownloadFinishSchema,
  type DownloadRequest,
  type DownloadResponse,
  DownloadResponseSchema,
  DownloadStartSchema,
} from "../../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import type { DownloadEvent, DownloadQuery } from "../../artifacts/types.ts";
import type { DownloadMessage } from "../../wire/messages.ts";
import type { Call } from "../calls.ts";
import { callOf, type Handlers, projectOf, type Served } from "./context.ts";
import { fromEntryHeader, fromFileEnd, invalid, toNumber, toReference } from "./convert.ts";

/** Files that a client may say it has parts of. */
const MAX_HELD = 10_000;

export function downloadHandlers(served: Served): Handlers<"download"> {
  return {
    async *download(request, context) {
      for await (const batch of sendDownload(served, request, callOf(context))) {
        for (const message of batch) yield responseOf(message);
      }
    },
  };
}

function responseOf(message: DownloadMessage): DownloadResponse {
  return create(DownloadResponseSchema, { message });
}

/** Leaving it early frees what it holds. Throws what the domain throws. */
export async function* sendDownload(
  served: Served,
  request: DownloadRequest,
  call: Call,
): AsyncGenerator<readonly DownloadMessage[], void, undefined> {
  const query = queryOf(request, projectOf(served, call, request.project));
  for await (const events of served.artifacts.download(query, { signal: call.signal })) {
    let bytes = 0;
    const messages: DownloadMessage[] = [];
    for (const event of events) {
      if (event.type === "chunk") bytes += event.bytes.length;
      messages.push(messageOf(event));
    }
    if (bytes > 0) call.metrics.transferred("out", bytes);
    yield messages;
  }
}

function queryOf(request: DownloadRequest, project: string): DownloadQuery {
  const { range, held } = request;
  if (held.length > MAX_HELD) throw invalid(`${held.length} held files: at most ${MAX_HELD} are allowed`);
  if (range !== undefined && held.length > 0) throw invalid("a range and held files can't go together");
  return {
    project,
    reference: toReference(request.reference),
    path: request.path,
    startAfter: request.startAfter,
    endAt: request.endAt,
    ...(range === undefined ? {} : { range: rangeOf(range) }),
    ...(held.length === 0 ? {} : { held: new Map(held.map(({ path, length }) => [path, toNumber(length, "a held length")])) }),
  };
}

function rangeOf({ offset, length }: { offset: bigint; length?: bigint | undefined }): { offset: number; length?: number } {
  const from = toNumber(offset, "the range's offset");
  return length === undefined ? { offset: from } : { offset: from, length: toNumber(length, "the range's length") };
}

function messageOf(event: DownloadEvent): DownloadMessage {
  switch (event.type) {
    case "chunk":
      return { case: "chunk", value: event.bytes as Uint8Array<ArrayBuffer> };
    case "file":
      return { case: "file", value: fromEntryHeader(event.entry, event.offset) };
    case "fileEnd":
      return { case: "fileEnd", value: fromFileEnd(event.size, event.crc32c) };
    case "start":
      return { case: "start", value: create(DownloadStartSchema, { run: event.run, commit: BigInt(event.commit) }) };
    case "finish":
      return { case: "finish", value: create(DownloadFinishSchema, { files: BigInt(event.files), bytes: BigInt(event.bytes) }) };
  }
}
