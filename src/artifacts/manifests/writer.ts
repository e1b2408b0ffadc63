/** Writes entries that come in any order as a manifest, in bounded memory. Those that come in order are written as they come. */
import type { Manifest } from "../../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { comparePaths } from "../../lib/paths.ts";
import { LayerCursor } from "./cursor.ts";
import { openLayer } from "./layer.ts";
import { SortedWriter, WRITER_LIMITS, type WriterLimits } from "./sorted-writer.ts";
import type { LayerEntry, ObjectReader, ObjectWriter, StoredEntry } from "./types.ts";

/** Entries that are held to be sorted; some 100 to 300 bytes each. */
const HELD_ENTRIES = 20_000;

export interface ManifestWriter {
  /** Takes an entry. A promise means that something is being put, and must be waited for. */
  add(entry: StoredEntry): Promise<void> | undefined;
  /** Fails with PATH_CONFLICT if a path came twice, or as a file and as a folder. */
  finish(): Promise<Manifest>;
}

export interface ManifestWriterOptions {
  readonly limits?: WriterLimits;
  readonly heldEntries?: number;
}

export function createManifestWriter(writer: ObjectWriter, reader: ObjectReader, options: ManifestWriterOptions = {}): ManifestWriter {
  const { limits = WRITER_LIMITS, heldEntries = HELD_ENTRIES } = options;
  const runs: Manifest[] = [];
  let run = new SortedWriter(writer, limits);
  let held: StoredEntry[] = [];

  // What is held joins the run that is being written if it lies behind it; else it begins another.
  async function writeHeld(): Promise<void> {
    const entries = held.sort((a, b) => comparePaths(a.path, b.path));
    held = [];
    const first = entries[0];
    if (!first) return;
    if (run.lastPath !== undefined && comparePaths(first.path, run.lastPath) < 0) {
      runs.push(await run.finish());
      run = new SortedWriter(writer, limits);
    }
    for (const entry of entries) {
      const putting = run.add(entry);
      if (putting) await putting;
    }
  }

  return {
    add(entry) {
      held.push(entry);
      return held.length < heldEntries ? undefined : writeHeld();
    },
    async finish() {
      await writeHeld();
      const last = await run.finish();
      if (runs.length === 0) return last;
      return mergeRuns([...runs, last], writer, reader, limits);
    },
  };
}

// Gives the entries of all runs in order, so that what they have in common comes side by side and is found out.
async function mergeRuns(runs: readonly Manifest[], writer: ObjectWriter, reader: ObjectReader, limits: WriterLimits): Promise<Manifest> {
  const cursors = await Promise.all(runs.map(async (run) => new LayerCursor(await openLayer(run, reader))));
  const merged = new SortedWriter(writer, limits);
  for (const cursor of cursors) await cursor.seek(() => false);
  for (;;) {
    let smallest: LayerCursor | undefined;
    for (const cursor of cursors) {
      if (!cursor.current || (smallest?.current && comparePaths(smallest.current.path, cursor.current.path) <= 0)) continue;
      smallest = cursor;
    }
    if (!smallest?.current) return merged.finish();
    const putting = merged.add(smallest.current as LayerEntry);
    if (putting) await putting;
    const loading = smallest.next();
    if (loading) await loading;
  }
}
