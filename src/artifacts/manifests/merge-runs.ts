/** Joins sorted manifests of one upload to one, in which whatever two of them have in common comes side by side and is found out. */
import type { Manifest } from "../../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { comparePaths, isWithin } from "../../lib/paths.ts";
import { openLayer } from "./layer.ts";
import { LayerCursor, type ReadAhead } from "./layer-cursor.ts";
import { SortedWriter, type WriterLimits } from "./sorted-writer.ts";
import type { LayerEntry, ObjectReader, ObjectWriter } from "./types.ts";

/** All of each is read. One block ahead for each manifest, since there may be many. */
const READ_AHEAD: ReadAhead = { wants: () => true, ends: () => false, limit: 1 };

/** `runs` are in the order in which their entries came: of two folders of one path, the later one counts. */
export async function mergeRuns(
  runs: readonly Manifest[],
  writer: ObjectWriter,
  reader: ObjectReader,
  limits: WriterLimits,
): Promise<Manifest> {
  const merged = new SortedWriter(writer, limits);
  const queue: Run[] = [];
  for (const [order, run] of runs.entries()) {
    const cursor = new LayerCursor(await openLayer(run, reader, { once: true }), { ahead: READ_AHEAD });
    enqueue(queue, { cursor, order });
  }
  for (;;) {
    const first = queue[0];
    const path = first?.cursor.path;
    if (!first || path === undefined) return merged.finish();
    const other = queue[1]?.cursor.path;
    const block = first.cursor.wholeBlock;
    const isApart = block && (other === undefined || (comparePaths(block.lastPath, other) < 0 && !isWithin(other, block.lastPath)));
    if (isApart && merged.takes(block)) {
      await merged.addBlock(block);
      first.cursor.nextBlock();
    } else {
      const loading = first.cursor.load();
      if (loading) await loading;
      const putting = merged.add(first.cursor.entry as LayerEntry);
      if (putting) await putting;
      first.cursor.next();
    }
    if (other === undefined && first.cursor.path !== undefined) continue;
    queue.shift();
    enqueue(queue, first);
  }
}

interface Run {
  readonly cursor: LayerCursor;
  readonly order: number;
}

/** Keeps the queue sorted by where the cursors are; one at its end leaves. */
function enqueue(queue: Run[], run: Run): void {
  const { path } = run.cursor;
  if (path === undefined) return;
  let low = 0;
  let high = queue.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const there = queue[middle] as Run;
    if ((comparePaths(there.cursor.path as string, path) || there.order - run.order) < 0) low = middle + 1;
    else high = middle;
  }
  queue.splice(low, 0, run);
}
