/**
 * The package's front door.
 *
 * `artifacts` has the functions of a default client, which is made from the environment when it is first used; `createClient` makes others.
 */
import { type ArtifactsClient, createClient } from "./client/client.ts";

export type { ArtifactsClient, Entry, GarbageResult, Listing, OpenUpload, Run, Tag, VerifyResult } from "./client/client.ts";
export { createClient } from "./client/client.ts";
export type { DownloadOptions, DownloadResult, ReferenceOptions } from "./client/download.ts";
export { ArtifactsDownloadError, ArtifactsUploadError, DstackError, RunNotFoundError, TagNotFoundError } from "./client/errors.ts";
export type { ReadOptions } from "./client/read.ts";
export type { ClientOptions } from "./client/settings.ts";
export type { BytesUploadOptions, FilesUploadOptions, Progress, UploadOptions, UploadResult } from "./client/upload.ts";

let defaultClient: ArtifactsClient | undefined;

/** The default client, made when one of its functions is first called. */
export const artifacts: ArtifactsClient = new Proxy({} as ArtifactsClient, {
  get(_, name: keyof ArtifactsClient) {
    if (name === "close") return () => closeDefault();
    return (...args: never[]) => {
      defaultClient ??= createClient();
      return (defaultClient[name] as (...all: never[]) => unknown)(...args);
    };
  },
});

async function closeDefault(): Promise<void> {
  const client = defaultClient;
  defaultClient = undefined;
  await client?.close();
}
