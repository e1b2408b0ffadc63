/** What a reference shows: the run, its commit, and a view of the entries. */
import { type Manifest, type Snapshot, SnapshotSchema } from "../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { LruCache } from "../lib/lru-cache.ts";
import { StoreError } from "../store/driver.ts";
import { checkName, quote } from "./check.ts";
import { ArtifactsFailure } from "./errors.ts";
import { numberOf, snapshotKey, snapshotPrefix } from "./keys.ts";
import { deletedSeqAfter, type Logged, type RunLog, type RunState, stateOf } from "./log.ts";
import { narrowed, type ObjectReader, openView, type View } from "./manifests/index.ts";
import type { Objects } from "./objects.ts";
import { type TagLog, tagNotFound } from "./tags.ts";
import type { Reference } from "./types.ts";

/** Memory for views that are kept open: each holds its manifests' inline blocks, as bytes, and its indexes once it was looked into. */
const OPEN_VIEWS_BYTES = 16 * 1024 * 1024;
/** What a view takes beside that, about: its layers, and the totals that were asked of it. */
const VIEW_COST_BYTES = 16 * 1024;
/** An index takes so many times its bytes in memory. */
const INDEX_COST = 4;

export interface Layers {
  readonly snapshot: { readonly seq: number; readonly value: Snapshot } | undefined;
  /** Commits above the snapshot, newest first. */
  readonly newer: readonly { readonly seq: number; readonly manifest: Manifest }[];
  readonly deletedSeq: number;
}

export interface ResolvedView {
  readonly run: string;
  readonly seq: number;
  /** The tag's path; empty for everything. */
  readonly path: string;
  /** Of a tag: what the tag shows. */
  readonly view: View;
}

export interface Views {
  /** The state of a run that can be seen, or RUN_NOT_FOUND. */
  state(project: string, run: string): Promise<RunState>;
  resolve(project: string, reference: Reference): Promise<ResolvedView>;
  /** The view of a run as a commit left it. */
  at(project: string, run: string, seq: number): Promise<View>;
  layers(project: string, run: string, seq: number): Promise<Layers>;
  /** The newest commit of a run in this state. */
  newestCommit(project: string, run: string, state: RunState): Promise<number>;
}

export interface ViewsOptions {
  /** Manifests are read from the store, whatever other views keep of them. */
  readonly fresh?: boolean;
}

export function createViews(
  objects: Objects,
  log: RunLog,
  tags: TagLog,
  readerOf: (project: string) => ObjectReader,
  { fresh = false }: ViewsOptions = {},
): Views {
  const open = new LruCache<string, Promise<View>>(OPEN_VIEWS_BYTES);

  const views: Views = {
    async state(project, run) {
      checkName("run", run);
      const head = await log.head(project, run);
      const state = head && stateOf(head);
      if (!state) throw runNotFound(run);
      return state;
    },

    async resolve(project, reference) {
      if ("tag" in reference) {
        checkName("tag", reference.tag);
        const tag = await tags.find(project, reference.tag);
        if (!tag) throw tagNotFound(reference.tag);
        const { run, commit, path } = tag.info;
        return { run, seq: commit, path, view: narrowed(await views.at(project, run, commit), path) };
      }
      const { run, commit } = reference;
      const state = await views.state(project, run);
      const seq = commit || (await views.newestCommit(project, run, state));
      if (seq > state.seq || seq <= state.deletedSeq) throw commitNotFound(run, seq);
      if ((await log.entry(project, run, seq)).change.case !== "commit") throw commitNotFound(run, seq);
      return { run, seq, path: "", view: await views.at(project, run, seq) };
    },

    at(project, run, seq) {
      const key = `${project}/${run}@${seq}`;
      const kept = open.get(key);
      if (kept) return kept;
      const view: Promise<View> = load(project, run, seq).then(({ opened, weight }) => {
        if (open.get(key) === view) open.set(key, view, weight);
        return opened;
      });
      open.set(key, view, VIEW_COST_BYTES);
      view.catch(() => open.delete(key));
      return view;
    },

    async layers(project, run, seq) {
      const entry = await log.entry(project, run, seq);
      const deletedSeq = deletedSeqAfter({ seq, entry });
      const snapshot = await newestSnapshot(project, run, seq, deletedSeq);
      const entries = await log.between(project, run, (snapshot?.seq ?? deletedSeq) + 1, seq);
      return { snapshot, newer: entries.flatMap(commitOf), deletedSeq };
    },

    async newestCommit(project, run, state) {
      for (let seq = state.seq; seq > state.deletedSeq; seq--) {
        if ((await log.entry(project, run, seq)).change.case === "commit") return seq;
      }
      throw runNotFound(run);
    },
  };

  async function load(project: string, run: string, seq: number): Promise<{ opened: View; weight: number }> {
    const { snapshot, newer } = await views.layers(project, run, seq);
    const layers = [...newer.map(({ manifest }) => manifest), ...(snapshot?.value.layers ?? [])];
    const known = snapshot && { layersFromIndex: newer.length, files: Number(snapshot.value.files), bytes: Number(snapshot.value.bytes) };
    const opened = openView(layers, readerOf(project), known ? { knownTotals: known, fresh } : { fresh });
    return { opened, weight: layers.reduce((sum, layer) => sum + weightOf(layer), VIEW_COST_BYTES) };
  }

  async function newestSnapshot(project: string, run: string, seq: number, deletedSeq: number): Promise<Layers["snapshot"]> {
    for (let above = seq + 1; ; ) {
      const first = await objects.first(snapshotPrefix(project, run), snapshotKey(project, run, above));
      if (!first) return undefined;
      const found = numberOf(first.key);
      if (found <= deletedSeq) return undefined;
      const value = await undamaged(objects.get(first.key, SnapshotSchema));
      if (value && !value.closed) return { seq: found, value };
      above = found;
    }
  }

  return views;
}

/** Nothing but speed depends on a snapshot: one that is damaged counts as one that isn't there. */
async function undamaged<T>(value: Promise<T | undefined>): Promise<T | undefined> {
  try {
    return await value;
  } catch (error) {
    if (error instanceof StoreError && error.kind === "damaged") return undefined;
    throw error;
  }
}

function weightOf({ content }: Manifest): number {
  if (content.case === "index") return Number(content.value.length) * INDEX_COST;
  return content.case === "block" ? content.value.length : 0;
}

function commitOf({ seq, entry }: Logged): { seq: number; manifest: Manifest }[] {
  if (entry.change.case !== "commit") return [];
  const { manifest } = entry.change.value;
  if (!manifest) throw new StoreError("damaged", `commit ${seq} has no manifest`);
  return [{ seq, manifest }];
}

export function runNotFound(run: string): ArtifactsFailure {
  return new ArtifactsFailure("RUN_NOT_FOUND", `run ${JSON.stringify(run)} not found`, { run });
}

function commitNotFound(run: string, commit: number): ArtifactsFailure {
  return new ArtifactsFailure("COMMIT_NOT_FOUND", `run ${JSON.stringify(run)} has no commit ${commit}`, { run, commit: String(commit) });
}

export function pathNotFound(path: string, resolved: { run: string }, reference: Reference): ArtifactsFailure {
  const where = "tag" in reference ? { tag: reference.tag } : { run: resolved.run };
  const name = "tag" in reference ? `tag ${JSON.stringify(reference.tag)}` : `run ${JSON.stringify(resolved.run)}`;
  return new ArtifactsFailure("PATH_NOT_FOUND", `${name} has nothing at ${quote(path)}`, { path, ...where });
}
