/** What a server has of an upload, so that it needn't be sent again. */
import { ConnectError } from "@connectrpc/connect";
import { type Upload, type UploadResponse, UploadState } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { failureOf } from "../wire/status.ts";
import { ArtifactsUploadError } from "./errors.ts";
import type { Link } from "./link.ts";
import { nanosecondsOf } from "./timestamps.ts";

/** What the server has of a file. */
export interface PersistedFile {
  readonly size: number | undefined;
  readonly mtimeNs: bigint;
  readonly try: number;
  readonly spans: readonly { readonly offset: number; readonly length: number }[];
}

export interface Persisted {
  readonly files: ReadonlyMap<string, PersistedFile>;
  /** Bytes in all. */
  readonly bytes: number;
  /** What the upload is for; undefined if the server doesn't know it. */
  readonly upload: Upload | undefined;
  /** Once it is committed, the answer. */
  readonly response: UploadResponse | undefined;
}

export const NOTHING: Persisted = { files: new Map(), bytes: 0, upload: undefined, response: undefined };

const PAGE = 10_000;

/** `reached`: whether the server has answered before. */
export async function loadPersisted(
  link: Link,
  uploadId: string,
  options: { readonly signal: AbortSignal | undefined; readonly reached: boolean },
): Promise<Persisted> {
  const { project } = link.settings;
  const files = new Map<string, PersistedFile>();
  let bytes = 0;
  for (let pageToken = ""; ; ) {
    const page = await getUpload(link, { project, uploadId, pageSize: PAGE, pageToken }, options);
    // It was cut off before the server had begun it.
    if (page?.upload === undefined) return NOTHING;
    const { upload, nextPageToken } = page;
    if (upload.state === UploadState.ABORTED)
      throw new ArtifactsUploadError(`upload ${uploadId} was aborted: begin a new one`, { reason: "UPLOAD_GONE" });
    for (const file of page.files) {
      const spans = file.spans.map(({ offset, length }) => ({ offset: Number(offset), length: Number(length) }));
      for (const span of spans) bytes += span.length;
      const size = file.size === undefined ? undefined : Number(file.size);
      files.set(file.path, { size, mtimeNs: nanosecondsOf(file.mtime), try: file.try, spans });
    }
    if (nextPageToken === "") return { files, bytes, upload, response: upload.response };
    pageToken = nextPageToken;
  }
}

async function getUpload(
  link: Link,
  request: { project: string; uploadId: string; pageSize: number; pageToken: string },
  options: { readonly signal: AbortSignal | undefined; readonly reached: boolean },
) {
  try {
    return await link.call((service, call) => service.getUpload(request, call), options);
  } catch (error) {
    if (error instanceof ConnectError && failureOf(error).reason === "UPLOAD_NOT_FOUND") return undefined;
    throw error;
  }
}
