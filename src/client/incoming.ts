/** Takes the entries of a download as they come and puts them into the tree. */
import { type Entry, type EntryHeader, EntryType } from "../../gen/ts/dstack/artifacts/v1/entries_pb.ts";
import type { DownloadMessage } from "../wire/messages.ts";
import { ArtifactsDownloadError } from "./errors.ts";
import type { LocalTree } from "./local-tree.ts";
import { AT_ONCE_BYTES, adoptFile, type Found, findFile, NOTHING_FOUND, PartialFile, type WantedFile } from "./partial-file.ts";
import type { Meter } from "./progress.ts";
import { nanosecondsOf } from "./timestamps.ts";

/** Bytes that are written at once. */
const WRITE_BYTES = AT_ONCE_BYTES;

interface OpenFile {
  readonly path: string;
  readonly wanted: WantedFile;
  readonly final: string;
  /** Bytes that need not come. */
  readonly found: Found;
  /** Bytes that the meter knows of. */
  counted: number;
  partial: PartialFile | undefined;
}

export class Incoming {
  readonly #tree: LocalTree;
  readonly #relativeOf: (path: string) => string;
  readonly #meter: Meter;
  /** What was found of files that are not through yet. */
  #found = new Map<string, Found>();
  #file: OpenFile | undefined;
  #parts: Uint8Array[] = [];
  #partBytes = 0;
  /** Files and links that are through, and the bytes of the files. */
  files = 0;
  bytes = 0;
  /** Bytes that came over the wire. */
  received = 0;
  /** The last entry that is through. */
  lastDone = "";

  /** `relativeOf` gives an entry's path below the tree's root. */
  constructor(tree: LocalTree, relativeOf: (path: string) => string, meter: Meter) {
    this.#tree = tree;
    this.#relativeOf = relativeOf;
    this.#meter = meter;
  }

  /** Looks for what is there already of the files of a listing. */
  async look(entries: readonly Entry[], signal: AbortSignal | undefined): Promise<void> {
    this.#found = new Map();
    for (const entry of entries) {
      signal?.throwIfAborted();
      if (entry.type !== EntryType.FILE || !entry.size) continue;
      // Behind a link there is nothing of ours; that it is one is found out when the entry comes.
      const final = this.#tree.find(this.#relativeOf(entry.path));
      const found = final === undefined ? NOTHING_FOUND : await findFile(final, wantedOf(entry), signal);
      if (found.length > 0) this.#found.set(entry.path, found);
    }
  }

  /** What the server is told to leave out. */
  held(): { path: string; length: bigint }[] {
    return [...this.#found].map(([path, { length }]) => ({ path, length: BigInt(length) }));
  }

  /** Takes a message. What it returns is to be waited for, before the next one. */
  take(message: DownloadMessage): Promise<void> | undefined {
    switch (message.case) {
      case "file":
        this.#begin(message.value);
        return undefined;
      case "chunk":
        return this.#chunk(message.value);
      case "fileEnd":
        return this.#end();
      default:
        return undefined;
    }
  }

  /** Lets go of a file that is not complete. What is there of it can be gone on with, unless it is to be forgotten. */
  async leave(options: { readonly forget: boolean }): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    if (!file) return;
    const parts = this.#takeParts();
    this.#meter.add(0, -file.counted);
    if (options.forget) this.#found.delete(file.path);
    if (!file.partial) return;
    await file.partial.write(parts).catch(() => {});
    await file.partial.leave();
    if (!options.forget) this.#found.set(file.path, file.partial.found);
  }

  #begin(header: EntryHeader): void {
    const relative = this.#relativeOf(header.path);
    if (header.type === EntryType.FOLDER) {
      // The folder that was asked for is the local path, which stays as it is.
      if (relative !== "") this.#tree.addFolder(relative, header.mode);
      this.lastDone = header.path;
    } else if (header.type === EntryType.LINK) {
      this.#tree.addLink(relative, header.linkTarget);
      this.#done(header.path, 0);
      this.#meter.add(1, 0);
    } else {
      const found = this.#found.get(header.path) ?? NOTHING_FOUND;
      if (found.length !== Number(header.offset))
        throw new ArtifactsDownloadError(`the server sent ${JSON.stringify(header.path)} from another byte than it was asked for`);
      this.#file = {
        path: header.path,
        wanted: wantedOf(header),
        final: this.#tree.place(relative),
        found,
        counted: found.length,
        partial: undefined,
      };
      this.#meter.add(0, found.length);
    }
  }

  #chunk(bytes: Uint8Array): Promise<void> | undefined {
    const file = this.#current();
    this.#parts.push(bytes);
    this.#partBytes += bytes.length;
    this.received += bytes.length;
    file.counted += bytes.length;
    this.#meter.add(0, bytes.length);
    return this.#partBytes < WRITE_BYTES ? undefined : openPartial(file).write(this.#takeParts());
  }

  #end(): Promise<void> | undefined {
    const file = this.#current();
    const { wanted, final, found } = file;
    let finishing: Promise<void> | undefined;
    if (found.whole) {
      adoptFile(final, wanted);
    } else if (!file.partial) {
      openPartial(file).writeNow(this.#takeParts());
      finishing = openPartial(file).finishNow();
    } else {
      finishing = finish(file.partial, this.#takeParts());
    }
    if (finishing === undefined) this.#through(file);
    return finishing?.then(() => this.#through(file));
  }

  #through({ path, wanted }: OpenFile): void {
    this.#file = undefined;
    this.#found.delete(path);
    this.#done(path, wanted.size);
    this.#meter.add(1, 0);
  }

  #done(path: string, size: number): void {
    this.lastDone = path;
    this.files++;
    this.bytes += size;
  }

  #current(): OpenFile {
    if (!this.#file) throw new ArtifactsDownloadError("the server sent bytes of no file");
    return this.#file;
  }

  #takeParts(): Uint8Array[] {
    const parts = this.#parts;
    this.#parts = [];
    this.#partBytes = 0;
    return parts;
  }
}

function openPartial(file: OpenFile): PartialFile {
  file.partial ??= new PartialFile(file.final, file.wanted, file.found);
  return file.partial;
}

async function finish(partial: PartialFile, parts: readonly Uint8Array[]): Promise<void> {
  await partial.write(parts);
  await partial.finish();
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
