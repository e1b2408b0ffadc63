/** One file, or part of it, as a stream of bytes. */
import { create } from "@bufbuild/protobuf";
import { DownloadRequestSchema, ReferenceSchema } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { EntryType } from "../../gen/ts/dstack/artifacts/v1/entries_pb.ts";
import { crc32c } from "../lib/crc32c.ts";
import { trimPath } from "../lib/paths.ts";
import { type ReferenceOptions, referenceOf } from "./download.ts";
import { ArtifactsDownloadError } from "./errors.ts";
import type { Link } from "./link.ts";
import { createPatience } from "./retry.ts";

export interface ReadOptions extends ReferenceOptions {
  /** The file. */
  readonly artifactPath: string;
  /** From byte `offset`, `length` bytes at the most; default all of it. */
  readonly range?: { readonly offset: number; readonly length?: number | undefined } | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Gives the bytes in order, checked; fails at the end if they are not those that were uploaded. */
export async function* readFile(link: Link, options: ReadOptions): AsyncGenerator<Uint8Array, void, undefined> {
  const { settings, transfers } = link;
  const path = trimPath(options.artifactPath);
  let reference = referenceOf(options);
  if (path === "") throw new ArtifactsDownloadError("the root is a folder: name a file");
  const patience = createPatience(settings.timeoutMs);
  const { range } = options;
  let position = range?.offset ?? 0;
  let end = range?.length === undefined ? undefined : range.offset + range.length;
  let crc = 0;
  let expected: number | undefined;
  let pinned: { run: string; commit: bigint } | undefined;
  for (;;) {
    const before = position;
    // A whole file is asked for without a range, since its end then tells the checksum of all of it.
    const isWhole = position === 0 && end === undefined;
    const request = create(DownloadRequestSchema, {
      project: settings.project,
      reference,
      path,
      ...(isWhole ? {} : { range: { offset: BigInt(position), ...(end === undefined ? {} : { length: BigInt(end - position) }) } }),
    });
    let partCrc = 0;
    try {
      for await (const batch of transfers.download(request, { signal: options.signal, timeoutMs: settings.timeoutMs })) {
        for (const message of batch) {
          if (message.case === "start") {
            const { run, commit } = message.value;
            if (pinned && (pinned.run !== run || pinned.commit !== commit))
              throw new ArtifactsDownloadError("what the reference names changed while it was read");
            pinned = { run, commit };
            if (reference.target.case === "run")
              reference = create(ReferenceSchema, { target: { case: "run", value: { name: run, commit } } });
          } else if (message.case === "file") {
            if (message.value.path !== path || message.value.type !== EntryType.FILE)
              throw new ArtifactsDownloadError(`${JSON.stringify(path)} is not a file`);
            const size = Number(message.value.size ?? 0);
            end = Math.min(end ?? size, size);
            expected ??= range ? undefined : message.value.crc32c;
          } else if (message.case === "chunk") {
            partCrc = crc32c(message.value, partCrc);
            crc = crc32c(message.value, crc);
            position += message.value.length;
            yield message.value;
          } else if (message.case === "fileEnd") {
            const isRight = position === end && message.value.crc32c === partCrc && (expected === undefined || expected === crc);
            if (!isRight)
              throw new ArtifactsDownloadError(`${JSON.stringify(path)} arrived damaged: its checksum is not that of the uploaded file`);
          } else if (message.case === "finish") return;
        }
      }
      throw new ArtifactsDownloadError("the server ended the download before it was complete");
    } catch (error) {
      if (position > before) patience.progressed();
      await patience.wait(error, options.signal);
      if (end !== undefined && position === end) return;
    }
  }
}
