/**
 * The package's front door.
 *
 * `artifacts` has the functions of a default client, which is made from the environment when it is first used; `createClient` makes others.
 */
import { type ArtifactsClient, createClient } from "./client/client.ts";

export type {
  ArtifactsClient,
  Cancellable,
  CopyOptions,
  CreateTagOptions,
  GarbageOptions,
  ListOptions,
  VerifyOptions,
} from "./client/client.ts";
export { createClient } from "./client/client.ts";
export type { DownloadOptions, DownloadResult } from "./client/download.ts";
export { ArtifactsDownloadError, ArtifactsUploadError, DstackError, RunNotFoundError, TagNotFoundError } from "./client/errors.ts";
export type { Progress } from "./client/progress.ts";
export type { ReadOptions } from "./client/read.ts";
export type { ReferenceOptions } from "./client/reference.ts";
export type { Entry, GarbageResult, Listing, OpenUpload, Run, Tag, VerifyResult } from "./client/results.ts";
export type { ClientOptions } from "./client/settings.ts";
export type { Source } from "./client/source.ts";
export type { BytesUploadOptions, FilesUploadOptions, UploadOptions, UploadResult } from "./client/upload.ts";

let defaultClient: ArtifactsClient | undefined;

function theClient(): ArtifactsClient {
  defaultClient ??= createClient();
  return defaultClient;
}

/** The default client. Bad settings in the environment make its functions reject. */
export const artifacts: ArtifactsClient = {
  upload: async (options) => theClient().upload(options),
  uploadBytes: async (options) => theClient().uploadBytes(options),
  download: async (options) => theClient().download(options),
  async *read(options) {
    yield* theClient().read(options);
  },
  list: async (options) => theClient().list(options),
  runs: async (options) => theClient().runs(options),
  run: async (name, options) => theClient().run(name, options),
  deleteRun: async (name, options) => theClient().deleteRun(name, options),
  tags: async (options) => theClient().tags(options),
  tag: async (name, options) => theClient().tag(name, options),
  createTag: async (name, options) => theClient().createTag(name, options),
  deleteTag: async (name, options) => theClient().deleteTag(name, options),
  copy: async (options) => theClient().copy(options),
  verify: async (options) => theClient().verify(options),
  collectGarbage: async (options) => theClient().collectGarbage(options),
  uploads: async (options) => theClient().uploads(options),
  abortUpload: async (id, options) => theClient().abortUpload(id, options),
  /** Ends its connections; the next call makes a new client from the environment as it is then. */
  async close() {
    const client = defaultClient;
    defaultClient = undefined;
    await client?.close();
  },
};
