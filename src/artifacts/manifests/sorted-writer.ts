/** Writes entries that come in order as a manifest: inline while it is small, else blocks in objects and an index. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  BlockSchema,
  type BlockSummary,
  BlockSummarySchema,
  IndexSchema,
  type Manifest,
  ManifestSchema,
} from "../../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { crc32c } from "../../lib/crc32c.ts";
import { isWithin } from "../../lib/paths.ts";
import { quote } from "../check.ts";
import { ArtifactsFailure } from "../errors.ts";
import { BlockEncoder } from "./codec.ts";
import { isCounted, type LayerEntry, type ObjectWriter } from "./types.ts";

export interface WriterLimits {
  /** Bytes of a manifest that stays inline; what holds it must stay under 1 MiB. */
  readonly inlineBytes: number;
  /** Bytes of a block: what a listing of a small folder reads. */
  readonly blockBytes: number;
  /** Bytes of an object of blocks. */
  readonly objectBytes: number;
}

export const WRITER_LIMITS: WriterLimits = { inlineBytes: 256 * 1024, blockBytes: 64 * 1024, objectBytes: 4 * 1024 * 1024 };

interface FinishedBlock {
  readonly bytes: Uint8Array;
  readonly summary: BlockSummary;
}

export class SortedWriter {
  readonly #writer: ObjectWriter;
  readonly #limits: WriterLimits;
  #encoder = new BlockEncoder();
  #first = "";
  #files = 0;
  #bytes = 0;
  #entries = 0;
  /** The entry that came last; it may still be replaced by one of the same path. */
  #pending: LayerEntry | undefined;
  #blocks: FinishedBlock[] = [];
  #blockBytes = 0;
  readonly #summaries: BlockSummary[] = [];

  constructor(writer: ObjectWriter, limits: WriterLimits = WRITER_LIMITS) {
    this.#writer = writer;
    this.#limits = limits;
  }

  /** The path that came last. */
  get lastPath(): string | undefined {
    return this.#pending?.path;
  }

  /** Takes the next entry; a promise means that an object is being put, and must be waited for. */
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

  async finish(): Promise<Manifest> {
    if (this.#pending) await this.#encode(this.#pending);
    this.#pending = undefined;
    this.#closeBlock();
    const { summaries, blocks } = { summaries: this.#summaries, blocks: this.#blocks };
    const counts = [...summaries, ...blocks.map((block) => block.summary)].reduce(
      (sum, { files, bytes, entries }) => ({ files: sum.files + files, bytes: sum.bytes + bytes, entries: sum.entries + BigInt(entries) }),
      { files: 0n, bytes: 0n, entries: 0n },
    );
    if (summaries.length === 0 && blocks.length <= 1) {
      const block = blocks[0] ? fromBinary(BlockSchema, blocks[0].bytes) : create(BlockSchema);
      return create(ManifestSchema, { ...counts, content: { case: "block", value: block } });
    }
    await this.#putBlocks();
    const index = toBinary(IndexSchema, create(IndexSchema, { blocks: summaries }));
    const key = await this.#writer.put([index]);
    const location = { key, offset: 0n, length: BigInt(index.length), crc32c: crc32c(index) };
    return create(ManifestSchema, { ...counts, content: { case: "index", value: location } });
  }

  #encode(entry: LayerEntry): Promise<void> | undefined {
    if (this.#entries === 0) this.#first = entry.path;
    this.#entries++;
    if (isCounted(entry)) this.#files++;
    this.#bytes += entry.size ?? 0;
    this.#encoder.add(entry);
    this.#last = entry.path;
    // While all of it may stay inline, it is one block.
    const isFirst = this.#summaries.length === 0 && this.#blocks.length === 0;
    if (this.#encoder.bytes < (isFirst ? this.#limits.inlineBytes : this.#limits.blockBytes)) return undefined;
    this.#closeBlock();
    return this.#blockBytes >= this.#limits.objectBytes ? this.#putBlocks() : undefined;
  }

  #last = "";

  #closeBlock(): void {
    if (this.#entries === 0) return;
    const bytes = this.#encoder.finish();
    const summary = create(BlockSummarySchema, {
      firstPath: this.#first,
      lastPath: this.#last,
      files: BigInt(this.#files),
      bytes: BigInt(this.#bytes),
      entries: this.#entries,
    });
    this.#blocks.push({ bytes, summary });
    this.#blockBytes += bytes.length;
    this.#encoder = new BlockEncoder();
    this.#files = 0;
    this.#bytes = 0;
    this.#entries = 0;
  }

  async #putBlocks(): Promise<void> {
    const blocks = this.#blocks;
    if (blocks.length === 0) return;
    this.#blocks = [];
    this.#blockBytes = 0;
    const key = await this.#writer.put(blocks.map((block) => block.bytes));
    let offset = 0;
    for (const { bytes, summary } of blocks) {
      const location = {
        $typeName: "dstack.artifacts.storage.v1.Location" as const,
        key,
        offset: BigInt(offset),
        length: BigInt(bytes.length),
        crc32c: crc32c(bytes),
      };
      this.#summaries.push({ ...summary, location });
      offset += bytes.length;
    }
  }
}

function conflict(message: string, path: string): ArtifactsFailure {
  return new ArtifactsFailure("PATH_CONFLICT", message, { path });
}
