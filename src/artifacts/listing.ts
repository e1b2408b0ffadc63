/** Listings of a run's entries, and of runs with what is in them. */
import { mapAhead } from "../lib/map-ahead.ts";
import { comparePaths } from "../lib/paths.ts";
import { checkName, checkPathOrRoot } from "./check.ts";
import type { Context } from "./context.ts";
import { checkThere } from "./downloads/download.ts";
import { lastSegment, runsPrefix } from "./keys.ts";
import { type RunState, stateOf } from "./log.ts";
import { withoutExtents } from "./manifests/index.ts";
import { decodeToken, encodeToken, invalidToken, pageSize } from "./paging.ts";
import type { SetTag } from "./tags.ts";
import type { Entry, EntryPage, PageRequest, Reference, RunInfo } from "./types.ts";
import type { ResolvedView } from "./views.ts";

const ENTRY_PAGE = { defaultSize: 1000, maxSize: 10_000 };
const RUN_PAGE = { defaultSize: 100, maxSize: 1000 };
/** Runs that are looked at together: each takes several reads, one after the other. */
const RUNS_AT_ONCE = 16;

/** What a page of entries goes on from: the commit of the first page, and the last path of the one before. */
interface EntryToken {
  readonly run: string;
  readonly seq: number;
  readonly after: string;
}

export async function listEntries(
  context: Context,
  project: string,
  reference: Reference,
  query: { prefix?: string; recursive?: boolean } & PageRequest,
): Promise<EntryPage> {
  checkName("project", project);
  const prefix = checkPathOrRoot(query.prefix ?? "");
  const token = decodeEntryToken(query.pageToken);
  const resolved = await context.views.resolve(project, reference);
  const pinned = token ? await pinnedTo(context, project, reference, resolved, token) : resolved;
  await checkThere(pinned, prefix, reference);

  const limit = pageSize(query, ENTRY_PAGE);
  const entries: Entry[] = [];
  let more = false;
  for await (const batch of levels(pinned, prefix, query.recursive === true, token?.after)) {
    for (const entry of batch) {
      if (entries.length === limit) more = true;
      else entries.push(entry);
    }
    if (more) break;
  }
  const totals = await pinned.view.totals(prefix);
  const last = entries.at(-1);
  const next: EntryToken | undefined = more && last ? { run: pinned.run, seq: pinned.seq, after: last.path } : undefined;
  return {
    entries,
    nextPageToken: next ? encodeToken(JSON.stringify(next)) : "",
    totalFiles: totals.files,
    totalBytes: totals.bytes,
    run: pinned.run,
    commit: pinned.seq,
  };
}

/** The commit of the first page, if the run still has it: a token is the client's word. */
async function pinnedTo(
  context: Context,
  project: string,
  reference: Reference,
  resolved: ResolvedView,
  { run, seq }: EntryToken,
): Promise<ResolvedView> {
  if (run !== resolved.run || ("tag" in reference && seq !== resolved.seq)) throw invalidToken();
  return seq === resolved.seq ? resolved : context.views.resolve(project, { run, commit: seq });
}

async function* levels(
  { view, path: shown }: ResolvedView,
  prefix: string,
  recursive: boolean,
  after: string | undefined,
): AsyncGenerator<readonly Entry[]> {
  const from = after ? { startAfter: after } : {};
  const itself = await view.get(prefix);
  if (recursive) {
    for await (const batch of view.entries({ path: prefix, ...from })) {
      // The folder that is listed is not in its own listing, nor is the one that a tag shows: the tag shows what is in it.
      yield batch.filter(({ path, type }) => type !== "folder" || (path !== prefix && path !== shown)).map(withoutExtents);
    }
  } else if (itself && itself.type !== "folder") {
    if (!after || comparePaths(after, itself.path) < 0) yield [withoutExtents(itself)];
  } else {
    yield* view.children(prefix, from);
  }
}

function decodeEntryToken(token: string | undefined): EntryToken | undefined {
  const text = decodeToken(token);
  if (text === undefined) return undefined;
  try {
    const { run, seq, after } = JSON.parse(text) as Record<string, unknown>;
    if (typeof run === "string" && Number.isSafeInteger(seq) && (seq as number) > 0 && typeof after === "string")
      return { run, seq: seq as number, after };
  } catch {
    // Falls through to the refusal.
  }
  throw invalidToken();
}

export async function getRun(context: Context, project: string, run: string): Promise<RunInfo> {
  checkName("project", project);
  const state = await context.views.state(project, run);
  return describe(context, project, run, state, await context.tags.all(project));
}

export async function listRuns(
  context: Context,
  project: string,
  page: PageRequest = {},
): Promise<{ runs: readonly RunInfo[]; nextPageToken: string }> {
  checkName("project", project);
  const limit = pageSize(page, RUN_PAGE);
  const after = decodeToken(page.pageToken);
  const prefix = runsPrefix(project);
  const tags = await context.tags.all(project);
  const runs: RunInfo[] = [];
  const names = context.objects.list(prefix, after === undefined ? {} : { startAfter: prefix + after });
  const described = mapAhead(names, Math.min(RUNS_AT_ONCE, limit + 1), async ({ key }) => {
    const run = lastSegment(key);
    const head = await context.log.head(project, run);
    const state = head && stateOf(head);
    return state && describe(context, project, run, state, tags);
  });
  for await (const run of described) {
    if (!run) continue;
    const previous = runs.at(-1);
    if (previous && runs.length === limit) return { runs, nextPageToken: encodeToken(previous.name) };
    runs.push(run);
  }
  return { runs, nextPageToken: "" };
}

async function describe(context: Context, project: string, name: string, state: RunState, tags: readonly SetTag[]): Promise<RunInfo> {
  const view = await context.views.at(project, name, state.seq);
  const { files, bytes } = await view.totals("");
  return {
    name,
    commits: state.commits,
    newestCommit: await context.views.newestCommit(project, name, state),
    files,
    bytes,
    created: state.created,
    tags: tags.filter((tag) => tag.info.run === name).map((tag) => tag.info.name),
  };
}
