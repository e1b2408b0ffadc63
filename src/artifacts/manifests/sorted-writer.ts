/** Writes entries that come in order as a manifest: inline while it is small, else blocks in objects and an index. */
import { create, toBinary } from "@bufbuild/protobuf";
import {
  type BlockSummary,
  BlockSummarySchema,
  IndexSchema,
  type Location,
  LocationSchema,
  type Manifest,
  ManifestSchema,
} from "../../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { crc32c } from "../../lib/crc32c.ts";
import { isWithin } from "../../lib/paths.ts";
import { quote } from "../check.ts";
import { ArtifactsFailure } from "../errors.ts";
import { BlockEncoder } from "./block-encoder.ts";
import type { BlockRange } from "./layer.ts";
import { isCounted, type LayerEntry, type ObjectWriter } from "./types.ts";

export interface WriterLimits {
  /** Bytes of a manifest that stays inline; what holds it must stay under 1 MiB. */
  readonly inlineBytes: number;
  /** Bytes of a block: what a listing of a small folder reads. */
  readonly blockBytes: number;
  /** Bytes of an object of blocks: what is held until it is put. */
  readonly objectBytes: number;
}

/**
 * Inline: a quarter of what an entry of a log may have, since a snapshot holds several manifests. Blocks: some 800 entries of ordinary
 * files, which decode in less than a millisecond. Objects: few for a million entries, small beside what an upload holds anyway.
 */
export const WRITER_LIMITS: WriterLimits = { inlineBytes: 256 * 1024, blockBytes: 64 * 1024, objectBytes: 4 * 1024 * 1024 };

/** A block that exists is taken over if it has at least this part of what a block should have; smaller ones are written together. */
const WORTH_TAKING = 0.5;

/** Counts of what lies in a block or more. */
interface Counts {
  files: number;
  bytes: number;
  entries: number;
}

interface NewBlock {
  readonly bytes: Uint8Array;
  readonly summary: BlockSummary;
}

export class SortedWriter {
  readonly #writer: ObjectWriter;
  readonly #limits: WriterLimits;
  readonly #encoder: BlockEncoder;
  /** Of the block that is being filled. */
  #firstPath = "";
  #lastPath = "";
  #counts: Counts = { files: 0, bytes: 0, entries: 0 };
  /** The entry that came last; it may still be replaced by one of the same path. */
  #pending: LayerEntry | undefined;
  /** All blocks in order; those without a location wait in `#waiting` to be put. */
  readonly #summaries: BlockSummary[] = [];
  #waiting: NewBlock[] = [];
  #waitingBytes = 0;

  constructor(writer: ObjectWriter, limits: WriterLimits = WRITER_LIMITS) {
    this.#writer = writer;
    this.#limits = limits;
    this.#encoder = new BlockEncoder(limits.blockBytes);
  }

  /** The path that came last. */
  get lastPath(): string | undefined {
    return this.#pending?.path ?? (this.#counts.entries > 0 ? this.#lastPath : this.#summaries.at(-1)?.lastPath);
  }

  /**
   * Takes the next entry. A promise means that an object is being put, and must be waited for.
   *
   * @throws ArtifactsFailure PATH_CONFLICT if the path was there before, or lies in a file.
   */
  add(entry: LayerEntry): Promise<void> | undefined {
    const last = this.#pending;
    this.#pending = entry;
    if (!last) return undefined;
    if (last.path === entry.path) {
      if (last.type === "folder" && entry.type === "folder") return undefined;
      throw conflict(`path ${quote(entry.path)} comes twice in one upload`, entry.path);
    }
    if (last.type !== "folder" && last.type !== "trace" && isWithin(entry.path, last.path)) {
      throw conflict(`path ${quote(last.path)} is a file and a folder in one upload`, last.path);
    }
    return this.#encode(last);
  }

  /** Whether a block that exists can come next as it is, without being written again. */
  takes({ location, firstPath }: BlockRange): boolean {
    if (!location || Number(location.length) < this.#limits.blockBytes * WORTH_TAKING) return false;
    // What may be in conflict is looked at entry by entry.
    return !this.#pending || !isWithin(firstPath, this.#pending.path);
  }

  /** Takes a block that exists. */
  async addBlock({ location, firstPath, lastPath, files, bytes, entries }: BlockRange): Promise<void> {
    if (this.#pending) await this.#encode(this.#pending);
    this.#pending = undefined;
    this.#closeBlock();
    this.#summaries.push(summaryOf(firstPath, lastPath, { files, bytes, entries }, location));
  }

  async finish(): Promise<Manifest> {
    if (this.#pending) await this.#encode(this.#pending);
    this.#pending = undefined;
    this.#closeBlock();
    const blocks = this.#summaries;
    const counts = { files: 0n, bytes: 0n, entries: 0n };
    for (const { files, bytes, entries } of blocks) {
      counts.files += files;
      counts.bytes += bytes;
      counts.entries += BigInt(entries);
    }
    const [only] = this.#waiting;
    if (blocks.length === 0 || (blocks.length === 1 && only && only.bytes.length <= this.#limits.inlineBytes)) {
      return create(ManifestSchema, { ...counts, content: { case: "block", value: only?.bytes ?? new Uint8Array() } });
    }
    await this.#putBlocks();
    const index = toBinary(IndexSchema, create(IndexSchema, { blocks }));
    const key = await this.#writer.put([index]);
    return create(ManifestSchema, { ...counts, content: { case: "index", value: locationOf(key, 0, index) } });
  }

  #encode(entry: LayerEntry): Promise<void> | undefined {
    const counts = this.#counts;
    if (counts.entries === 0) this.#firstPath = entry.path;
    this.#lastPath = entry.path;
    counts.entries++;
    if (isCounted(entry)) counts.files++;
    counts.bytes += entry.size ?? 0;
    this.#encoder.add(entry);
    // While all of it may stay inline, it is one block.
    const limit = this.#summaries.length === 0 ? this.#limits.inlineBytes : this.#limits.blockBytes;
    if (this.#encoder.bytes < limit) return undefined;
    this.#closeBlock();
    return this.#waitingBytes >= this.#limits.objectBytes ? this.#putBlocks() : undefined;
  }

  #closeBlock(): void {
    if (this.#counts.entries === 0) return;
    const bytes = this.#encoder.finish();
    const summary = summaryOf(this.#firstPath, this.#lastPath, this.#counts);
    this.#summaries.push(summary);
    this.#waiting.push({ bytes, summary });
    this.#waitingBytes += bytes.length;
    this.#counts = { files: 0, bytes: 0, entries: 0 };
  }

  async #putBlocks(): Promise<void> {
    const blocks = this.#waiting;
    if (blocks.length === 0) return;
    this.#waiting = [];
    this.#waitingBytes = 0;
    const key = await this.#writer.put(blocks.map((block) => block.bytes));
    let offset = 0;
    for (const { bytes, summary } of blocks) {
      summary.location = locationOf(key, offset, bytes);
      offset += bytes.length;
    }
  }
}

function summaryOf(firstPath: string, lastPath: string, counts: Counts, location?: Location): BlockSummary {
  const { entries } = counts;
  const files = BigInt(counts.files);
  const bytes = BigInt(counts.bytes);
  return create(BlockSummarySchema, { firstPath, lastPath, files, bytes, entries, ...(location ? { location } : {}) });
}

function locationOf(key: string, offset: number, bytes: Uint8Array): Location {
  return create(LocationSchema, { key, offset: BigInt(offset), length: BigInt(bytes.length), crc32c: crc32c(bytes) });
}

function conflict(message: string, path: string): ArtifactsFailure {
  return new ArtifactsFailure("PATH_CONFLICT", message, { path });
}
