/** Finds what runs, tags and live uploads of a project reach. */
import { LogEntrySchema, type Manifest, SnapshotSchema } from "../../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import type { Context } from "../context.ts";
import { lastSegment, logKey, numberOf, runsPrefix, snapshotPrefix } from "../keys.ts";
import { deletedSeqAfter } from "../log.ts";
import { manifestLocations } from "../manifests/index.ts";
import type { UploadRecord } from "./uploads.ts";

/** Runs that are read at once: a store's answers take long, and names of runs are kept for ever. */
const RUNS_AT_ONCE = 16;

/** The keys of all data objects that something reaches, as records name them. */
export async function markReachable(context: Context, project: string, uploads: Iterable<UploadRecord>): Promise<ReadonlySet<string>> {
  const { objects, log, tags, views } = context;
  const reachable = new Set<string>();
  const deletedSeqs = new Map<string, number>();

  async function mark(manifest: Manifest | undefined): Promise<void> {
    if (!manifest) return;
    for await (const key of manifestLocations(manifest, context.reader(project))) reachable.add(key);
  }

  // All that a reader of this commit would touch.
  async function markView(run: string, seq: number): Promise<void> {
    // What the log still has of the run is marked already.
    if (seq > (deletedSeqs.get(run) ?? Number.POSITIVE_INFINITY)) return;
    if (!(await objects.get(logKey(project, run, seq), LogEntrySchema))) return;
    const { snapshot, newer } = await views.layers(project, run, seq);
    for (const manifest of [...newer.map((commit) => commit.manifest), ...(snapshot?.value.layers ?? [])]) await mark(manifest);
  }

  async function markRun(run: string): Promise<void> {
    const head = await log.head(project, run);
    if (!head) return;
    const deletedSeq = deletedSeqAfter(head);
    deletedSeqs.set(run, deletedSeq);
    for (let seq = head.seq; seq > deletedSeq; seq--) {
      const { change } = await log.entry(project, run, seq);
      if (change.case === "commit") await mark(change.value.manifest);
    }
    for await (const { key } of objects.list(snapshotPrefix(project, run))) {
      if (numberOf(key) <= deletedSeq) break;
      for (const layer of (await objects.get(key, SnapshotSchema))?.layers ?? []) await mark(layer);
    }
  }

  // Tags first: the first commit of a tagged run is in its log then, so that it is found there although the tag be removed meanwhile.
  const all = await tags.all(project);
  let names: string[] = [];
  for await (const { key } of objects.list(runsPrefix(project))) {
    names.push(lastSegment(key));
    if (names.length < RUNS_AT_ONCE) continue;
    await Promise.all(names.map(markRun));
    names = [];
  }
  await Promise.all(names.map(markRun));
  for (const { info } of all) await markView(info.run, info.commit);
  // The data of a live upload isn't judged; what a copy or a tag points at is another's.
  for (const { start, live } of uploads) {
    if (live && start?.sourceRun) await markView(start.sourceRun, Number(start.sourceSeq));
  }
  return reachable;
}
