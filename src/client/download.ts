/** Downloads to files: one stream, taken up again where it was cut off, that leaves out what is there already. */
import fs from "node:fs";
import { create } from "@bufbuild/protobuf";
import { DownloadRequestSchema, type DownloadStart, ReferenceSchema } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { type Entry, type EntryHeader, EntryType } from "../../gen/ts/dstack/artifacts/v1/entries_pb.ts";
import { trimPath } from "../lib/paths.ts";
import { expandHome } from "./artifact-path.ts";
import { ArtifactsDownloadError } from "./errors.ts";
import type { Link } from "./link.ts";
import { adoptFile, type Found, fileTarget, findFile, LocalTree, PartialFile, type WantedFile } from "./local-tree.ts";
import { createPatience } from "./retry.ts";
import { checkName } from "./settings.ts";
import type { Progress } from "./upload.ts";
import { nanosecondsOf } from "./upload-messages.ts";

/** Names what is downloaded: exactly one of the two. */
export interface ReferenceOptions {
  readonly run?: string | undefined;
  readonly tag?: string | undefined;
  /** One of the run's commits; default the newest. */
  readonly commit?: number | undefined;
}

export interface DownloadOptions extends ReferenceOptions {
  /** A file, or a folder, whose contents are downloaded; default everything. */
  readonly artifactPath?: string | undefined;
  /** Where it goes; default `.`. `~` is expanded. */
  readonly localPath?: string | undefined;
  /** Ends the download; what is complete stays, and the rest can be gone on with. */
  readonly signal?: AbortSignal | undefined;
  /** Told about ten times a second how far it is. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

export interface DownloadResult {
  readonly run: string;
  readonly commit: number;
  /** Files and links. */
  readonly files: number;
  /** Bytes of the files, those that were there already included. */
  readonly bytes: number;
}

/** Files that are looked for before they are asked for, at a time. */
const LISTING_PAGE = 5_000;
/** Bytes that are written at once. */
const WRITE_BYTES = 1024 * 1024;
const PROGRESS_MS = 100;

/** The message for the server; refuses anything but exactly one of run and tag. */
export function referenceOf(options: ReferenceOptions) {
  const { run, tag, commit } = options;
  const fail = (message: string) => new ArtifactsDownloadError(message);
  if (run !== undefined && tag !== undefined) throw fail("run and tag were both given: name one of them");
  if (tag !== undefined) {
    checkName("tag", tag, fail);
    return create(ReferenceSchema, { target: { case: "tag", value: tag } });
  }
  if (run === undefined) throw fail("neither run nor tag was given: name one of them");
  checkName("run", run, fail);
  return create(ReferenceSchema, { target: { case: "run", value: { name: run, commit: BigInt(commit ?? 0) } } });
}

export async function downloadFiles(link: Link, options: DownloadOptions): Promise<DownloadResult> {
  const path = trimPath(options.artifactPath ?? "");
  const local = expandHome(options.localPath || ".");
  const reference = referenceOf(options);
  const { settings, service } = link;
  const first = await service.listEntries({ project: settings.project, reference, prefix: path, recursive: true, pageSize: 1 });
  const isFile = path !== "" && first.entries[0]?.path === path && first.entries[0].type !== EntryType.FOLDER;
  const { root, relative } = isFile ? fileTarget(local, path) : { root: local, relative: "" };
  const isNew = !fs.existsSync(root) || fs.readdirSync(root).length === 0;
  const tree = new LocalTree(root);
  tree.makeRoot();
  const sink = new Sink(
    tree,
    root,
    (entry) => (isFile ? relative : path === "" ? entry : entry.slice(path.length + 1)),
    options.onProgress,
    {
      files: Number(first.totalFiles),
      bytes: Number(first.totalBytes),
    },
  );
  const pinned = { run: first.run, commit: first.commit };
  const transfer = new Transfer(link, reference, path, pinned, sink, options.signal);
  try {
    if (isNew) {
      await transfer.fetch({ startAfter: "", endAt: "" });
    } else {
      let pageToken = "";
      let startAfter = "";
      do {
        const page = await link.retrying(
          () =>
            service.listEntries({ project: settings.project, reference, prefix: path, recursive: true, pageSize: LISTING_PAGE, pageToken }),
          options.signal,
        );
        if (page.run !== pinned.run || page.commit !== pinned.commit) throw changed();
        pageToken = page.nextPageToken;
        const last = page.entries.at(-1);
        const endAt = pageToken === "" || !last ? "" : last.path;
        sink.look(page.entries);
        await transfer.fetch({ startAfter, endAt });
        startAfter = endAt;
      } while (pageToken !== "");
    }
  } finally {
    await sink.leave();
  }
  tree.finish();
  sink.end();
  return { run: pinned.run, commit: Number(pinned.commit), files: sink.files, bytes: sink.bytes };
}

function changed(): ArtifactsDownloadError {
  return new ArtifactsDownloadError("what the reference names changed during the download: start it again");
}

/** Asks for a window of paths until all of it has come. */
class Transfer {
  readonly #link: Link;
  readonly #reference: ReturnType<typeof referenceOf>;
  readonly #path: string;
  readonly #pinned: { readonly run: string; readonly commit: bigint };
  readonly #sink: Sink;
  readonly #signal: AbortSignal | undefined;

  constructor(
    link: Link,
    reference: ReturnType<typeof referenceOf>,
    path: string,
    pinned: { run: string; commit: bigint },
    sink: Sink,
    signal: AbortSignal | undefined,
  ) {
    this.#link = link;
    // A run goes on by its commit; a tag must be asked for by its name, and is compared.
    this.#reference =
      reference.target.case === "tag"
        ? reference
        : create(ReferenceSchema, { target: { case: "run", value: { name: pinned.run, commit: pinned.commit } } });
    this.#path = path;
    this.#pinned = pinned;
    this.#sink = sink;
    this.#signal = signal;
  }

  async fetch(window: { startAfter: string; endAt: string }): Promise<void> {
    const { settings, transfers } = this.#link;
    const patience = createPatience(settings.timeoutMs);
    const sink = this.#sink;
    for (;;) {
      const before = sink.received;
      try {
        const request = create(DownloadRequestSchema, {
          project: settings.project,
          reference: this.#reference,
          path: this.#path,
          startAfter: sink.lastDone === "" ? window.startAfter : sink.lastDone,
          endAt: window.endAt,
          held: sink.heldIn(),
        });
        for await (const batch of transfers.download(request, { signal: this.#signal, timeoutMs: settings.timeoutMs })) {
          for (const message of batch) {
            if (message.case === "start") this.#checkPinned(message.value);
            else if (message.case === "file") await sink.begin(message.value);
            else if (message.case === "chunk") await sink.chunk(message.value);
            else if (message.case === "fileEnd") await sink.endFile();
            else if (message.case === "finish") return;
          }
        }
        throw new ArtifactsDownloadError("the server ended the download before it was complete");
      } catch (error) {
        await sink.leave();
        if (sink.received > before) patience.progressed();
        await patience.wait(error, this.#signal);
      }
    }
  }

  #checkPinned(start: DownloadStart): void {
    if (start.run !== this.#pinned.run || start.commit !== this.#pinned.commit) throw changed();
  }
}

/** Takes entries as they come and puts them into the tree. */
class Sink {
  readonly #tree: LocalTree;
  readonly #root: string;
  readonly #relativeOf: (path: string) => string;
  readonly #onProgress: DownloadOptions["onProgress"];
  readonly #totals: { files: number; bytes: number };
  /** What was found of files of the window before it was asked for. */
  #found = new Map<string, Found>();
  #current: { header: EntryHeader; wanted: WantedFile; final: string; file: PartialFile | undefined; from: number } | undefined;
  #parts: Uint8Array[] = [];
  #partBytes = 0;
  #toldAt = 0;
  files = 0;
  bytes = 0;
  /** Bytes that came over the wire. */
  received = 0;
  /** The last entry that is complete. */
  lastDone = "";

  constructor(
    tree: LocalTree,
    root: string,
    relativeOf: (path: string) => string,
    onProgress: DownloadOptions["onProgress"],
    totals: { files: number; bytes: number },
  ) {
    this.#tree = tree;
    this.#root = root;
    this.#relativeOf = relativeOf;
    this.#onProgress = onProgress;
    this.#totals = totals;
  }

  /** Looks for the files of a listing. */
  look(entries: readonly Entry[]): void {
    this.#found = new Map();
    for (const entry of entries) {
      if (entry.type !== EntryType.FILE || !entry.size) continue;
      const final = this.#localOf(entry.path);
      // Behind a link there is nothing of ours; that it is one is found out when the entry comes.
      const found = final === undefined ? undefined : findFile(final, wantedOf(entry));
      if (found && found.length > 0) this.#found.set(entry.path, found);
    }
  }

  heldIn(): { path: string; length: bigint }[] {
    return [...this.#found].map(([path, { length }]) => ({ path, length: BigInt(length) }));
  }

  async begin(header: EntryHeader): Promise<void> {
    const relative = this.#relativeOf(header.path);
    if (header.type === EntryType.FOLDER) {
      // The folder that was asked for is the local path, which stays as it is.
      if (relative !== "") this.#tree.addFolder(relative, header.mode);
      this.lastDone = header.path;
      return;
    }
    if (header.type === EntryType.LINK) {
      this.#tree.addLink(relative, header.linkTarget);
      this.#done(header.path, 0);
      return;
    }
    this.#current = { header, wanted: wantedOf(header), final: this.#tree.place(relative), file: undefined, from: Number(header.offset) };
  }

  chunk(bytes: Uint8Array): Promise<void> | undefined {
    this.#parts.push(bytes);
    this.#partBytes += bytes.length;
    this.received += bytes.length;
    if (this.#partBytes < WRITE_BYTES) return undefined;
    this.#tell(false);
    return this.#open().write(this.#takeParts());
  }

  async endFile(): Promise<void> {
    const current = this.#current;
    if (!current) throw new ArtifactsDownloadError("the server ended a file that it had not begun");
    const { wanted, final, header } = current;
    if (current.from === wanted.size && wanted.size > 0 && this.#found.get(header.path)?.whole) {
      adoptFile(final, wanted);
    } else if (!current.file && this.#partBytes <= WRITE_BYTES) {
      const file = this.#open();
      file.writeNow(this.#takeParts());
      file.finishNow();
    } else {
      const file = this.#open();
      await file.write(this.#takeParts());
      await file.finish();
    }
    this.#current = undefined;
    this.#found.delete(header.path);
    this.#done(header.path, wanted.size);
  }

  /** Lets go of a file that is not complete; what is there of it can be gone on with. */
  async leave(): Promise<void> {
    const current = this.#current;
    this.#current = undefined;
    if (!current) return;
    const parts = this.#takeParts();
    const { file, header } = current;
    if (!file) return;
    await file.write(parts).catch(() => {});
    await file.leave();
    this.#found.set(header.path, { length: file.length, whole: false });
  }

  end(): void {
    this.#tell(true);
  }

  #open(): PartialFile {
    const current = this.#current;
    if (!current) throw new ArtifactsDownloadError("the server sent bytes of no file");
    current.file ??= new PartialFile(current.final, current.wanted, current.from);
    return current.file;
  }

  #takeParts(): Uint8Array[] {
    const parts = this.#parts;
    this.#parts = [];
    this.#partBytes = 0;
    return parts;
  }

  #done(path: string, size: number): void {
    this.lastDone = path;
    this.files++;
    this.bytes += size;
    this.#tell(false);
  }

  #localOf(path: string): string | undefined {
    const segments = this.#relativeOf(path).split("/");
    let folder = this.#root;
    for (const segment of segments.slice(0, -1)) {
      folder = `${folder}/${segment}`;
      if (!fs.lstatSync(folder, { throwIfNoEntry: false })?.isDirectory()) return undefined;
    }
    return `${folder}/${segments.at(-1)}`;
  }

  #tell(always: boolean): void {
    if (!this.#onProgress || (!always && performance.now() - this.#toldAt < PROGRESS_MS)) return;
    this.#toldAt = performance.now();
    const inFile = this.#current ? (this.#current.file?.length ?? this.#current.from) : 0;
    this.#onProgress({ files: this.files, bytes: this.bytes + inFile, totalFiles: this.#totals.files, totalBytes: this.#totals.bytes });
  }
}

function wantedOf(entry: Entry | EntryHeader): WantedFile {
  return {
    path: entry.path,
    size: Number(entry.size ?? 0),
    crc32c: entry.crc32c ?? 0,
    mode: entry.mode,
    mtimeNs: entry.mtime ? nanosecondsOf(entry.mtime) : undefined,
  };
}
