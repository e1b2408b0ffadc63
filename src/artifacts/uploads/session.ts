/** One server's work on one upload, from its first entry to its commit. */
import type { Manifest } from "../../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { checkLinkTarget, checkMtime, checkPath, quote } from "../check.ts";
import { ArtifactsFailure } from "../errors.ts";
import type { StoredEntry } from "../manifests/index.ts";
import type { Committed, FileEnd, UploadHeader, UploadSession } from "../types.ts";
import type { DataWriter, FileIdentity } from "./data-writer.ts";
import type { Persisted } from "./persisted.ts";

const FILE_MODE = 0o644;
const FOLDER_MODE = 0o755;
const PERMISSION_BITS = 0o777;

/** Bytes that come slowly stay in memory as long as so many times of idling: that bounds what is lost, and how many objects they make. */
const OPEN_IDLES = 6;

export interface SessionParts {
  readonly run: string;
  /** The modification time of entries that come without one. */
  readonly startedNs: bigint;
  readonly data: DataWriter;
  readonly manifest: { add(entry: StoredEntry): Promise<void> | undefined; finish(): Promise<Manifest> };
  /** What earlier servers persisted; asked for when a client first leaves bytes out. */
  persisted(): Promise<Persisted>;
  commit(manifest: Manifest): Promise<Committed>;
  /** Bytes that stay in the open data object for so long are put, in milliseconds. */
  readonly idleMs: number;
}

interface OpenFile {
  readonly header: UploadHeader;
  readonly identity: FileIdentity;
}

export function openSession(parts: SessionParts): UploadSession {
  const { data, manifest } = parts;
  let file: OpenFile | undefined;
  let files = 0;
  let bytes = 0;
  const idle = setInterval(() => {
    const now = performance.now();
    if (now - data.lastWriteMs >= parts.idleMs || now - data.openedMs >= OPEN_IDLES * parts.idleMs) data.handOn();
  }, parts.idleMs);
  idle.unref();

  function addEntry(entry: StoredEntry): Promise<void> | undefined {
    if (entry.type !== "folder") files++;
    bytes += entry.size ?? 0;
    return manifest.add(entry);
  }

  return {
    run: parts.run,
    committed: undefined,

    file(header) {
      const path = checkPath(header.path);
      const attempt = header.try ?? 0;
      if (file && !(file.identity.path === path && attempt > file.identity.try)) {
        throw outOfOrder(`${quote(path)} begins before ${quote(file.identity.path)} has ended`);
      }
      if (header.mtimeNs !== undefined) checkMtime(path, header.mtimeNs);
      const mtimeNs = header.mtimeNs ?? parts.startedNs;
      if (header.type === "folder") {
        return addEntry({ path, type: "folder", mode: (header.mode ?? FOLDER_MODE) & PERMISSION_BITS, mtimeNs, extents: [] });
      }
      if (header.type === "link") {
        const linkTarget = header.linkTarget ?? "";
        checkLinkTarget(path, linkTarget);
        return addEntry({ path, type: "link", linkTarget, mtimeNs, extents: [] });
      }
      const identity = { path, try: attempt, size: header.size, mtimeNs: header.mtimeNs ?? 0n };
      file = { header, identity };
      data.begin(identity);
      return undefined;
    },

    chunk(chunk) {
      const { size, path } = current(file).identity;
      if (size !== undefined && data.position + chunk.length > size) throw wrongSize(path, size, "more");
      return chunk.length === 0 ? undefined : data.write(chunk);
    },

    async skip(length) {
      const { identity } = current(file);
      const extents = (await parts.persisted()).cover(identity, data.position, length);
      if (!extents) {
        const where = `${length} bytes of ${quote(identity.path)} from byte ${data.position}`;
        throw new ArtifactsFailure("PERSISTED_MISSING", `${where} are not persisted: send them`, { path: identity.path });
      }
      for (const extent of extents) data.adopt(extent);
    },

    endFile(end) {
      const { header, identity } = current(file);
      file = undefined;
      const { size, crc32c, extents } = data.end();
      const { path } = identity;
      if (size !== end.size) throw wrongSize(path, end.size, size > end.size ? "more" : "fewer");
      if (identity.size !== undefined && size !== identity.size) throw wrongSize(path, identity.size, "fewer");
      checkCrc(path, crc32c, end);
      const mode = (header.mode ?? FILE_MODE) & PERMISSION_BITS;
      return addEntry({ path, type: "file", size, mode, mtimeNs: header.mtimeNs ?? parts.startedNs, crc32c, extents });
    },

    async finish(counts) {
      if (file) throw outOfOrder(`finish before ${quote(file.identity.path)} has ended`);
      if (counts.files !== files || counts.bytes !== bytes) {
        const what = `${files} files of ${bytes} bytes arrived, ${counts.files} files of ${counts.bytes} bytes were announced`;
        throw new ArtifactsFailure("SIZE_MISMATCH", what);
      }
      await data.flush();
      return parts.commit(await manifest.finish());
    },

    async close() {
      clearInterval(idle);
      await data.close();
    },
  };
}

/** A session for an upload that was committed before: it takes everything and keeps nothing. */
export function openCommittedSession(committed: Committed): UploadSession {
  return {
    run: committed.run,
    committed,
    file: () => undefined,
    chunk: () => undefined,
    skip: async () => {},
    endFile: () => undefined,
    finish: async () => committed,
    close: async () => {},
  };
}

function current(file: OpenFile | undefined): OpenFile {
  if (!file) throw outOfOrder("bytes or a file's end came while no file was begun");
  return file;
}

function checkCrc(path: string, crc32c: number, end: FileEnd): void {
  if (crc32c === end.crc32c) return;
  throw new ArtifactsFailure("CHECKSUM_MISMATCH", `${quote(path)} arrived damaged: its checksum is not the announced one`, { path });
}

function wrongSize(path: string, announced: number, what: "more" | "fewer"): ArtifactsFailure {
  return new ArtifactsFailure("SIZE_MISMATCH", `${quote(path)}: ${what} than the announced ${announced} bytes arrived`, { path });
}

function outOfOrder(message: string): ArtifactsFailure {
  return new ArtifactsFailure("MESSAGE_INVALID", message);
}
