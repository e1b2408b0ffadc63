/**
 * What travels in the two streams, Upload and Download: the values of their messages' oneof.
 *
 * They travel in batches, `AsyncIterable<readonly UploadMessage[]>`: what arrived together is handed on together, so that ten thousand
 * small files don't cost ten thousand turns of the event loop. A `chunk` may be any part of a chunk of the wire (what one packet
 * brought), and is a view of the buffer that it arrived in: never write to it. Whoever asks for the next batch is through with the chunks of
 * the one before: the sender may write over them, and a server gives their memory back. Only of the client's downloads they may be kept.
 */
import type { DownloadResponse, UploadRequest } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";

/** A message of an upload. `case` is undefined when none came, or one that this version doesn't know. */
export type UploadMessage = UploadRequest["message"];

/** A message of a download. `case` is undefined when none came, or one that this version doesn't know. */
export type DownloadMessage = DownloadResponse["message"];
