/** Servers' domains on one memory store, and the shortest ways to put files in and get them out. */
import { randomUUID } from "node:crypto";
import { type ArtifactsOptions, createArtifacts } from "../../src/artifacts/artifacts.ts";
import { ArtifactsFailure, type Reason } from "../../src/artifacts/errors.ts";
import type { Artifacts, Committed, DownloadQuery, Reference, UploadSession } from "../../src/artifacts/types.ts";
import { crc32c } from "../../src/lib/crc32c.ts";
import { MemoryObjects, openMemory } from "../../src/store/drivers/memory.ts";
import { type InterceptedDriver, intercept } from "./intercepted-driver.ts";

export const PROJECT = "main";

export interface Servers {
  readonly store: MemoryObjects;
  /** Another server on the same store. */
  open(options?: ArtifactsOptions): Promise<Artifacts & { readonly driver: InterceptedDriver }>;
}

export function servers(options: { now?: () => number } = {}): Servers {
  const store = new MemoryObjects();
  const clock = options.now;
  return {
    store,
    async open(artifactsOptions = {}) {
      const driver = intercept(openMemory("memory:", { objects: store, ...(clock ? { now: clock } : {}) }));
      const artifacts = await createArtifacts(driver, { ...(clock ? { now: () => new Date(clock()) } : {}), ...artifactsOptions });
      return Object.assign(artifacts, { driver });
    },
  };
}

export type Files = Readonly<Record<string, string | Uint8Array>>;

export function bytesOf(content: string | Uint8Array): Uint8Array {
  return typeof content === "string" ? Buffer.from(content) : content;
}

export async function sendFile(session: UploadSession, path: string, content: string | Uint8Array, attempt = 0): Promise<void> {
  const bytes = bytesOf(content);
  await session.file({ path, type: "file", size: bytes.length, mode: 0o640, mtimeNs: 1_700_000_000_123_456_789n, try: attempt });
  await session.chunk(bytes);
  await session.endFile({ size: bytes.length, crc32c: crc32c(bytes) });
}

export function countsOf(files: Files): { files: number; bytes: number } {
  const all = Object.values(files).map(bytesOf);
  return { files: all.length, bytes: all.reduce((sum, bytes) => sum + bytes.length, 0) };
}

export async function upload(
  artifacts: Artifacts,
  target: { run?: string; tag?: string; uploadId?: string; project?: string },
  files: Files,
): Promise<Committed> {
  const session = await artifacts.startUpload({ project: PROJECT, uploadId: randomUUID(), ...target });
  try {
    for (const [path, content] of Object.entries(files)) await sendFile(session, path, content);
    return await session.finish(countsOf(files));
  } finally {
    await session.close();
  }
}

/** All files that a reference shows, as text. */
export async function show(
  artifacts: Artifacts,
  reference: Reference,
  query: Partial<DownloadQuery> = {},
): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  let path = "";
  let parts: Uint8Array[] = [];
  for await (const batch of artifacts.download({ project: PROJECT, reference, ...query })) {
    for (const event of batch) {
      if (event.type === "file") {
        path = event.entry.path;
        parts = [];
        if (event.entry.type === "link") files[path] = `-> ${event.entry.linkTarget}`;
      } else if (event.type === "chunk") parts.push(event.bytes);
      else if (event.type === "fileEnd") files[path] = Buffer.concat(parts).toString();
    }
  }
  return files;
}

export async function runNames(artifacts: Artifacts): Promise<string[]> {
  return (await artifacts.listRuns(PROJECT)).runs.map((run) => run.name);
}

/** For `assert.rejects`: the failure has this reason. */
export function failsWith(reason: Reason): (error: unknown) => boolean {
  return (error) => {
    if (error instanceof ArtifactsFailure && error.reason === reason) return true;
    throw error;
  };
}
