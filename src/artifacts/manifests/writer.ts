/** Writes entries that come in any order as a manifest, in bounded memory. Those that come in order are written as they come. */
import type { Manifest } from "../../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { comparePaths } from "../../lib/paths.ts";
import { mergeRuns } from "./merge-runs.ts";
import { SortedWriter, WRITER_LIMITS, type WriterLimits } from "./sorted-writer.ts";
import type { ObjectReader, ObjectWriter, StoredEntry } from "./types.ts";

/** Bytes of memory, about, of the entries that are held to be sorted. */
const HELD_BYTES = 8 * 1024 * 1024;
/** What an entry, an extent and a checksum take in memory, about, in bytes. */
const ENTRY_BYTES = 250;
const EXTENT_BYTES = 100;
const CRC32C_BYTES = 8;
/** So many sorted runs are joined to one, since all that are merged at a time have blocks in memory. */
const MERGED_RUNS = 32;

export interface ManifestWriter {
  /** Takes an entry. A promise means that something is being put, and must be waited for before the next. */
  add(entry: StoredEntry): Promise<void> | undefined;
  /**
   * Gives the manifest. Of a folder that came twice the later one counts.
   *
   * @throws ArtifactsFailure PATH_CONFLICT if another path came twice, or one is a file and a folder; `add` may throw it, too.
   */
  finish(): Promise<Manifest>;
}

export interface ManifestWriterOptions {
  readonly limits?: WriterLimits;
  readonly heldBytes?: number;
}

export function createManifestWriter(writer: ObjectWriter, reader: ObjectReader, options: ManifestWriterOptions = {}): ManifestWriter {
  const { limits = WRITER_LIMITS, heldBytes = HELD_BYTES } = options;
  // Finished runs; those at index n are joined from runs at n - 1, and came before these.
  const levels: Manifest[][] = [];
  let run = new SortedWriter(writer, limits);
  let held: StoredEntry[] = [];
  let weight = 0;

  // What is held joins the run that is being written if it lies behind it; else it begins another.
  async function writeHeld(): Promise<void> {
    const entries = held.sort((a, b) => comparePaths(a.path, b.path));
    held = [];
    weight = 0;
    const first = entries[0];
    if (!first) return;
    if (run.lastPath !== undefined && comparePaths(first.path, run.lastPath) < 0) {
      await keep(await run.finish(), 0);
      run = new SortedWriter(writer, limits);
    }
    for (const entry of entries) {
      const putting = run.add(entry);
      if (putting) await putting;
    }
  }

  async function keep(finished: Manifest, level: number): Promise<void> {
    const runs = (levels[level] ??= []);
    runs.push(finished);
    if (runs.length < MERGED_RUNS) return;
    levels[level] = [];
    await keep(await mergeRuns(runs, writer, reader, limits), level + 1);
  }

  return {
    add(entry) {
      if (held.length === 0 && (run.lastPath === undefined || comparePaths(run.lastPath, entry.path) < 0)) return run.add(entry);
      held.push(entry);
      weight += weightOf(entry);
      return weight < heldBytes ? undefined : writeHeld();
    },
    async finish() {
      await writeHeld();
      const last = await run.finish();
      const runs = [...levels.reverse().flat(), last];
      return runs.length === 1 ? last : mergeRuns(runs, writer, reader, limits);
    },
  };
}

function weightOf({ path, linkTarget = "", extents }: StoredEntry): number {
  let weight = ENTRY_BYTES + path.length + linkTarget.length + extents.length * EXTENT_BYTES;
  for (const { crc32c } of extents) weight += crc32c.length * CRC32C_BYTES;
  return weight;
}
