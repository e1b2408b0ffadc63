/** One file, or part of it, as a stream of bytes. */
import { create } from "@bufbuild/protobuf";
import { DownloadRequestSchema } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { type EntryHeader, EntryType, type FileEnd } from "../../gen/ts/dstack/artifacts/v1/entries_pb.ts";
import { crc32c } from "../lib/crc32c.ts";
import { trimPath } from "../lib/paths.ts";
import { ArtifactsDownloadError } from "./errors.ts";
import type { Link } from "./link.ts";
import { type ReferenceOptions, referenceOf, runReference } from "./reference.ts";
import { createPatience } from "./retry.ts";

export interface ReadOptions extends ReferenceOptions {
  /** The file. */
  readonly artifactPath: string;
  /** From byte `offset`, which must lie in the file, `length` bytes at the most; default all of it. */
  readonly range?: { readonly offset: number; readonly length?: number | undefined } | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What is known of the file when its stream is taken up again. */
interface Position {
  /** Of the next byte that the caller gets. */
  next: number;
  /** Behind the last byte; undefined until the file's size is known. */
  end: number | undefined;
  /** CRC32C of what the caller got, and of the file if it is read whole. */
  crc: number;
  expectedCrc: number | undefined;
}

/**
 * Gives the bytes in order, checked; fails at the end if they are not those that were uploaded. The last chunk comes when all of it was
 * found right.
 */
export async function* readFile(link: Link, options: ReadOptions): AsyncGenerator<Uint8Array, void, undefined> {
  const { settings, transfers } = link;
  const { signal, range } = options;
  const path = trimPath(options.artifactPath);
  if (path === "") throw new ArtifactsDownloadError("the root is a folder: name a file");
  checkRange(range);
  let reference = referenceOf(options);
  let pinned: { readonly run: string; readonly commit: bigint } | undefined;
  const patience = createPatience(settings.timeoutMs);
  const end = range?.length === undefined ? undefined : range.offset + range.length;
  const at: Position = { next: range?.offset ?? 0, end, crc: 0, expectedCrc: undefined };
  for (;;) {
    // Not yet given: nothing says yet that it is right.
    let held: Uint8Array | undefined;
    let partCrc = 0;
    let isWhole = false;
    const request = create(DownloadRequestSchema, { project: settings.project, reference, path: options.artifactPath, ...rangeOf(at) });
    try {
      for await (const batch of transfers.download(request, { signal, timeoutMs: settings.timeoutMs })) {
        for (const message of batch) {
          if (message.case === "start") {
            const { run, commit } = message.value;
            if (pinned && (pinned.run !== run || pinned.commit !== commit))
              throw new ArtifactsDownloadError("what the reference names changed while it was read");
            pinned = { run, commit };
            if (reference.target.case === "run") reference = runReference(run, commit);
          } else if (message.case === "file") {
            begin(at, message.value, path, range === undefined);
          } else if (message.case === "chunk") {
            if (held) {
              advance(at, held);
              patience.progressed();
              yield held;
            }
            held = message.value;
            partCrc = crc32c(held, partCrc);
          } else if (message.case === "fileEnd") {
            if (held) advance(at, held);
            checkEnd(at, message.value, partCrc, path);
            // Read on to the end: a call that is left would be one of those that a server bears only so many of.
            isWhole = true;
          }
        }
      }
      if (!isWhole) throw new ArtifactsDownloadError("the server ended the download before it was complete");
    } catch (error) {
      // All bytes have come, and are right, whatever became of the call.
      if (!isWhole) {
        await patience.wait(error, signal);
        continue;
      }
    }
    if (held) yield held;
    return;
  }
}

// A whole file is asked for without a range, as that of an empty one would lie outside of it.
function rangeOf({ next, end }: Position) {
  if (next === 0 && end === undefined) return {};
  return { range: { offset: BigInt(next), ...(end === undefined ? {} : { length: BigInt(end - next) }) } };
}

function begin(at: Position, header: EntryHeader, path: string, isWhole: boolean): void {
  if (header.path !== path || header.type !== EntryType.FILE) throw new ArtifactsDownloadError(`${JSON.stringify(path)} is not a file`);
  const size = Number(header.size ?? 0);
  at.end = Math.min(at.end ?? size, size);
  if (isWhole) at.expectedCrc ??= header.crc32c;
}

function advance(at: Position, bytes: Uint8Array): void {
  at.crc = crc32c(bytes, at.crc);
  at.next += bytes.length;
}

function checkEnd({ next, end, crc, expectedCrc }: Position, told: FileEnd, partCrc: number, path: string): void {
  if (next === end && told.crc32c === partCrc && (expectedCrc === undefined || expectedCrc === crc)) return;
  throw new ArtifactsDownloadError(`${JSON.stringify(path)} arrived damaged: its checksum is not that of the uploaded file`, {
    reason: "DATA_DAMAGED",
  });
}

function checkRange(range: ReadOptions["range"]): void {
  if (range === undefined) return;
  const { offset, length = 1 } = range;
  if (Number.isSafeInteger(offset) && offset >= 0 && Number.isSafeInteger(length) && length > 0) return;
  throw new ArtifactsDownloadError(`range of ${length} bytes from byte ${offset}: give whole numbers, at least 1 byte from 0 on`);
}
