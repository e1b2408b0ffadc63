/**
 * What travels in the two streams, Upload and Download: the values of their messages' oneof.
 *
 * They travel in batches, `AsyncIterable<readonly UploadMessage[]>`: what arrived together is handed on together, so that ten thousand
 * small files don't cost ten thousand turns of the event loop. A `chunk` may be any part of a chunk of the wire (what one packet
 * brought), and is a view of the buffer that it arrived in: keep it as long as you like, never write to it. Whoever sends a batch may write
 * over its chunks when the next batch is asked for: it is asked for when the connection has taken all of the one before.
 */
import type { DownloadResponse, UploadRequest } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";

/** A message of an upload. `case` is undefined when none came, or one that this version doesn't know. */
export type UploadMessage = UploadRequest["message"];

/** A message of a download. `case` is undefined when none came, or one that this version doesn't know. */
export type DownloadMessage = DownloadResponse["message"];
