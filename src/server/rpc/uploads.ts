/** What is persisted of uploads, which are open, and an end to one. */
import { UploadState as StateMessage } from "../../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import type { PersistedFile, UploadInfo, UploadState } from "../../artifacts/types.ts";
import { callOf, type Handlers, projectOf, type Served } from "./context.ts";
import { fromCommitted, timestampFromDate, toPage, toTimestamp } from "./convert.ts";

const STATES: Readonly<Record<UploadState, StateMessage>> = {
  open: StateMessage.OPEN,
  finishing: StateMessage.FINISHING,
  committed: StateMessage.COMMITTED,
  aborted: StateMessage.ABORTED,
};

export function uploadsHandlers(served: Served): Handlers<"getUpload" | "listUploads" | "abortUpload"> {
  const { artifacts } = served;
  return {
    async getUpload(request, context) {
      const call = callOf(context);
      const project = projectOf(served, call, request.project);
      await served.uploadStreams.letGo(project, request.uploadId, AbortSignal.any([context.signal, call.signal]));
      const { upload, files, nextPageToken } = await artifacts.getUpload(project, request.uploadId, toPage(request));
      return { upload: fromUpload(upload), files: files.map(fromPersisted), nextPageToken };
    },
    async listUploads(request, context) {
      const { uploads, nextPageToken } = await artifacts.listUploads(projectOf(served, callOf(context), request.project), toPage(request));
      return { uploads: uploads.map(fromUpload), nextPageToken };
    },
    async abortUpload(request, context) {
      await artifacts.abortUpload(projectOf(served, callOf(context), request.project), request.uploadId);
      return {};
    },
  };
}

function fromUpload({ uploadId, run, tag = "", created, state, committed }: UploadInfo) {
  return {
    uploadId,
    run,
    tag,
    created: timestampFromDate(created),
    state: STATES[state],
    ...(committed === undefined ? {} : { response: fromCommitted(committed) }),
  };
}

function fromPersisted({ path, size, mtimeNs, try: attempt, spans }: PersistedFile) {
  return {
    path,
    mtime: toTimestamp(mtimeNs),
    try: attempt,
    spans: spans.map(({ offset, length }) => ({ offset: BigInt(offset), length: BigInt(length) })),
    ...(size === undefined ? {} : { size: BigInt(size) }),
  };
}
