/** Takes the entries of a download as they come and puts them into the tree. */
import { type Entry, type EntryHeader, EntryType } from "../../gen/ts/dstack/artifacts/v1/entries_pb.ts";
import { BufferPool } from "../lib/buffer-pool.ts";
import type { DownloadMessage } from "../wire/messages.ts";
import { BATCH_BYTES, Batch, type OpenPartial } from "./batch.ts";
import { ArtifactsDownloadError } from "./errors.ts";
import type { FileWriter, Written } from "./file-writer.ts";
import type { LocalTree } from "./local-tree.ts";
import {
  AT_ONCE_BYTES,
  adoptFile,
  type Found,
  findFile,
  NOTHING_FOUND,
  PartialFile,
  type RefetchError,
  type WantedFile,
} from "./partial-file.ts";
import type { Meter } from "./progress.ts";
import { Sequence } from "./sequence.ts";
import { nanosecondsOf } from "./timestamps.ts";

/** Bytes of a large file that are written at once. */
const WRITE_BYTES = AT_ONCE_BYTES;
/** Buffers for batches of small files that wait for the next one. */
const FREE_BATCHES = 6;

/** A file that is large, or of which something was found. */
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

/** Small files since the last ones were handed to the writer, and what lets them count. */
interface Gathered {
  readonly batch: Batch;
  readonly release: () => void;
}

/** An entry that is through. */
interface Through {
  readonly path: string;
  /** Whether it is a file or a link, and not a folder. */
  readonly isFile: boolean;
  readonly size: number;
}

export class Incoming {
  readonly #tree: LocalTree;
  readonly #relativeOf: (path: string) => string;
  readonly #meter: Meter;
  readonly #writer: FileWriter;
  readonly #buffers = new BufferPool(BATCH_BYTES, FREE_BATCHES);
  readonly #sequence = new Sequence<Through>((entry) => this.#count(entry));
  /** What was found of files that are not through yet. */
  #found = new Map<string, Found>();
  #file: OpenFile | undefined;
  #parts: Uint8Array[] = [];
  #partBytes = 0;
  #batch: Gathered | undefined;
  readonly #writing = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;
  /** Files and links that are through, and the bytes of the files. */
  files = 0;
  bytes = 0;
  /** Bytes that came over the wire. */
  received = 0;
  /** The last entry that is through, as all before it are. */
  lastDone = "";

  /** `relativeOf` gives an entry's path below the tree's root. */
  constructor(tree: LocalTree, relativeOf: (path: string) => string, meter: Meter, writer: FileWriter) {
    this.#tree = tree;
    this.#relativeOf = relativeOf;
    this.#meter = meter;
    this.#writer = writer;
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
        return this.#begin(message.value);
      case "chunk":
        return this.#chunk(message.value);
      case "fileEnd":
        return this.#end();
      default:
        return undefined;
    }
  }

  /** Has the small files written that are complete, without waiting for more of them. What it returns is to be waited for. */
  pass(): Promise<void> | undefined {
    if (this.#failure) throw this.#failure.error;
    return this.#batch && this.#batch.batch.length > 0 ? this.#write() : undefined;
  }

  /** Resolves when all that has come is written. When it rejects, nothing is being written any more either. */
  async settle(): Promise<void> {
    try {
      await this.#write();
    } finally {
      await Promise.all(this.#writing);
    }
    if (this.#failure) throw this.#failure.error;
  }

  /** Lets go of a file that is not complete. What is there of it can be gone on with, unless it is wrong. */
  async leave(wrong: RefetchError | undefined): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    this.#meter.add(0, -(file?.counted ?? this.#batch?.batch.received ?? 0));
    const parts = this.#takeParts();
    if (wrong) this.#batch?.batch.forget();
    const partial = (await this.#leaveFile(file, wrong ? [] : parts)) ?? (await this.#batch?.batch.leave());
    await this.settle().catch(() => {});
    // What wasn't written comes again, as all behind it does.
    this.#sequence.clear();
    this.#failure = undefined;
    if (file && wrong) await this.#lookAgain(file, wrong);
    if (partial && !wrong) this.#found.set(partial.path, partial.found);
  }

  /** What is wrong with a file may be that somebody else has finished it. */
  async #lookAgain({ path, final, wanted }: OpenFile, { isForeign }: RefetchError): Promise<void> {
    this.#found.delete(path);
    if (isForeign) return;
    const found = await findFile(final, wanted, undefined);
    if (found.whole) this.#found.set(path, found);
  }

  #begin(header: EntryHeader): Promise<void> | undefined {
    const { path } = header;
    const relative = this.#relativeOf(path);
    if (header.type === EntryType.FOLDER) {
      // The folder that was asked for is the local path, which stays as it is.
      if (relative !== "") this.#tree.addFolder(relative, header.mode);
      this.#sequence.add({ path, isFile: false, size: 0 });
      return undefined;
    }
    if (header.type === EntryType.LINK) {
      this.#tree.addLink(relative, header.linkTarget);
      this.#sequence.add({ path, isFile: true, size: 0 });
      return undefined;
    }
    const found = this.#found.get(path) ?? NOTHING_FOUND;
    if (found.length !== Number(header.offset))
      throw new ArtifactsDownloadError(`the server sent ${JSON.stringify(path)} from another byte than it was asked for`);
    const wanted = wantedOf(header);
    const final = this.#tree.place(relative);
    this.#meter.add(0, found.length);
    if (found === NOTHING_FOUND && wanted.size <= BATCH_BYTES) return this.#beginSmall(wanted, final);
    this.#file = { path, wanted, final, found, counted: found.length, partial: undefined };
    return undefined;
  }

  #beginSmall(wanted: WantedFile, final: string): Promise<void> | undefined {
    const writing = this.#batch?.batch.hasRoom(wanted) === false ? this.#write() : undefined;
    this.#batch ??= this.#open();
    this.#batch.batch.begin(wanted, final);
    return writing;
  }

  #chunk(bytes: Uint8Array): Promise<void> | undefined {
    this.received += bytes.length;
    this.#meter.add(0, bytes.length);
    if (this.#batch?.batch.received !== undefined) {
      this.#batch.batch.add(bytes);
      return undefined;
    }
    const file = this.#current();
    this.#parts.push(bytes);
    this.#partBytes += bytes.length;
    file.counted += bytes.length;
    return this.#partBytes < WRITE_BYTES ? undefined : this.#partialOf(file).write(this.#takeParts());
  }

  #end(): Promise<void> | undefined {
    if (this.#batch?.batch.received !== undefined) {
      const { path, size } = this.#batch.batch.end();
      this.#sequence.add({ path, isFile: true, size });
      return undefined;
    }
    const file = this.#current();
    const { path, wanted, final, found } = file;
    const through = (): void => {
      this.#file = undefined;
      this.#found.delete(path);
      this.#sequence.add({ path, isFile: true, size: wanted.size });
    };
    if (!found.whole) return finish(this.#partialOf(file), this.#takeParts()).then(through);
    return adoptFile(final, wanted, found).then(through);
  }

  #open(): Gathered {
    return { batch: new Batch(this.#buffers.take(), this.#openPartial), release: this.#sequence.hold() };
  }

  /** Hands the gathered files to the writer. What it returns is to be waited for. */
  #write(): Promise<void> | undefined {
    const gathered = this.#batch;
    if (gathered === undefined) return undefined;
    this.#batch = undefined;
    const { batch, release } = gathered;
    if (batch.received !== undefined) {
      this.#batch = this.#open();
      batch.handOver(this.#batch.batch);
    }
    const written = this.#writer.write(batch.files, batch.bytes);
    if (!(written instanceof Promise)) return this.#written(batch, written, release);
    const writing: Promise<void> = written
      .then((what) => this.#written(batch, what, release))
      .catch((error) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#writing.delete(writing));
    this.#writing.add(writing);
    return undefined;
  }

  #written(batch: Batch, { left, bytes }: Written, release: () => void): Promise<void> | undefined {
    const ended = (): void => {
      this.#buffers.give(bytes);
      release();
    };
    if (left.length > 0) return batch.writeLeft(left, bytes).then(ended);
    ended();
    return undefined;
  }

  #count({ path, isFile, size }: Through): void {
    this.lastDone = path;
    if (!isFile) return;
    this.files++;
    this.bytes += size;
    this.#meter.add(1, 0);
  }

  #current(): OpenFile {
    if (!this.#file) throw new ArtifactsDownloadError("the server sent bytes of no file");
    return this.#file;
  }

  #partialOf(file: OpenFile): PartialFile {
    file.partial ??= this.#openPartial(file.final, file.wanted, file.found);
    return file.partial;
  }

  readonly #openPartial: OpenPartial = (final, wanted, found) => this.#tree.inFolder(final, () => new PartialFile(final, wanted, found));

  /** Puts what came last into the file's partial one. Never rejects. */
  async #leaveFile(file: OpenFile | undefined, parts: readonly Uint8Array[]): Promise<PartialFile | undefined> {
    if (file === undefined) return undefined;
    try {
      if (parts.length > 0) await this.#partialOf(file).write(parts);
    } catch {}
    await file.partial?.leave();
    return file.partial;
  }

  #takeParts(): Uint8Array[] {
    const parts = this.#parts;
    this.#parts = [];
    this.#partBytes = 0;
    return parts;
  }
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
