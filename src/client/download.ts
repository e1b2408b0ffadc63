/** Downloads to files: one stream, taken up again where it was cut off, that leaves out what is there already. */
import fs from "node:fs";
import { create } from "@bufbuild/protobuf";
import {
  DownloadRequestSchema,
  type DownloadStart,
  type ListEntriesResponse,
  type Reference,
} from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { type Entry, EntryType } from "../../gen/ts/dstack/artifacts/v1/entries_pb.ts";
import { trimPath } from "../lib/paths.ts";
import { expandHome } from "./artifact-path.ts";
import { ArtifactsDownloadError } from "./errors.ts";
import { Incoming } from "./incoming.ts";
import type { Link } from "./link.ts";
import { fileTarget, LocalTree } from "./local-tree.ts";
import { RefetchError } from "./partial-file.ts";
import { createMeter, type OnProgress } from "./progress.ts";
import { type ReferenceOptions, referenceOf, runReference } from "./reference.ts";
import { createPatience } from "./retry.ts";

export interface DownloadOptions extends ReferenceOptions {
  /** A file, or a folder, whose contents are downloaded; default everything. */
  readonly artifactPath?: string | undefined;
  /**
   * Where it goes; default `.`. `~` is expanded. A folder's contents are merged into it; one file goes into it if it is a folder or ends
   * in `/`, else becomes it.
   */
  readonly localPath?: string | undefined;
  /** Ends the download; what is complete stays, and the rest can be gone on with. */
  readonly signal?: AbortSignal | undefined;
  /** Told about ten times a second how far it is. */
  readonly onProgress?: OnProgress;
}

export interface DownloadResult {
  readonly run: string;
  readonly commit: number;
  /** Files and links. */
  readonly files: number;
  /** Bytes of the files, those that were there already included. */
  readonly bytes: number;
}

/** Files that are looked for before they are asked for, at a time; with the longest paths, half of what a message may hold. */
const LISTING_PAGE = 2_000;
/**
 * What the list of held files may take in a request. It must fit into a socket's buffers whole (a Unix socket's have 200 KiB), with smaller
 * requests beside it: docs/decisions/0014-two-connections.md.
 */
const HELD_BYTES = 64 * 1024;
/** Of each of them, beside its path, at the most. */
const HELD_FIELD_BYTES = 20;
/** How often a file that arrives damaged, or whose partial file is taken away, is fetched. */
export const DAMAGED_FILE_FETCHES = 2;

/** What the stream of a download is asked for, again and again. */
interface Task {
  readonly link: Link;
  readonly path: string;
  readonly signal: AbortSignal | undefined;
  readonly incoming: Incoming;
  /** A run goes on by its commit; a tag must be asked for by its name, and is compared. */
  readonly reference: Reference;
  readonly pinned: { readonly run: string; readonly commit: bigint };
  /** How often files had to come again. */
  readonly refetched: Map<string, number>;
}

export async function downloadFiles(link: Link, options: DownloadOptions): Promise<DownloadResult> {
  const { signal } = options;
  const asGiven = options.artifactPath ?? "";
  const local = expandHome(options.localPath || ".");
  const asked = referenceOf(options);
  signal?.throwIfAborted();
  const first = await list({ link, path: asGiven, signal }, asked, { pageSize: 1, reached: false });
  const path = trimPath(asGiven);
  const { run, commit, totalFiles, totalBytes } = first;
  const isFile = path !== "" && first.entries[0]?.path === path && first.entries[0].type !== EntryType.FOLDER;
  const { root, relative } = isFile ? fileTarget(local, path) : { root: local, relative: "" };
  const tree = new LocalTree(root);
  const relativeOf = (entry: string) => (isFile ? relative : path === "" ? entry : entry.slice(path.length + 1));
  const meter = createMeter(options.onProgress, { files: Number(totalFiles), bytes: Number(totalBytes) });
  const incoming = new Incoming(tree, relativeOf, meter, link.files);
  const reference = asked.target.case === "tag" ? asked : runReference(run, commit);
  const task: Task = { link, path, signal, incoming, reference, pinned: { run, commit }, refetched: new Map() };
  try {
    if (fs.readdirSync(root).length === 0) await fetch(task, { startAfter: "", endAt: "" });
    else await fetchWhatIsMissing(task);
  } catch (error) {
    tree.giveUp();
    throw error;
  }
  tree.finish();
  meter.end();
  return { run, commit: Number(commit), files: incoming.files, bytes: incoming.bytes };
}

/** Page by page, leaving out what is there. */
async function fetchWhatIsMissing(task: Task): Promise<void> {
  const { incoming, pinned, signal } = task;
  for (let pageToken = "", startAfter = ""; ; ) {
    const page = await list(task, task.reference, { pageSize: LISTING_PAGE, pageToken, reached: true });
    if (page.run !== pinned.run || page.commit !== pinned.commit) throw changed();
    pageToken = page.nextPageToken;
    for (const some of slices(page.entries)) {
      const isLast = pageToken === "" && some.at(-1) === page.entries.at(-1);
      const endAt = isLast ? "" : (some.at(-1)?.path ?? "");
      await incoming.look(some, signal);
      await fetch(task, { startAfter, endAt });
      startAfter = endAt;
    }
    if (pageToken === "") return;
  }
}

/** Entries in parts of which each can be held. One at the least. */
function slices(entries: readonly Entry[]): readonly (readonly Entry[])[] {
  const parts: Entry[][] = [[]];
  let bytes = 0;
  for (const entry of entries) {
    const held = Buffer.byteLength(entry.path) + HELD_FIELD_BYTES;
    if (bytes + held > HELD_BYTES) {
      parts.push([]);
      bytes = 0;
    }
    bytes += held;
    parts.at(-1)?.push(entry);
  }
  return parts;
}

/** Asks for a window of paths until all of it has come. */
async function fetch(task: Task, window: { startAfter: string; endAt: string }): Promise<void> {
  const { link, incoming, signal, path, reference } = task;
  const { project, timeoutMs } = link.settings;
  const patience = createPatience(timeoutMs, true);
  for (;;) {
    const before = incoming.received;
    const startAfter = incoming.lastDone || window.startAfter;
    const request = create(DownloadRequestSchema, { project, reference, path, startAfter, endAt: window.endAt, held: incoming.held() });
    try {
      for await (const batch of link.transfers.download(request, { signal, timeoutMs })) {
        for (const message of batch) {
          if (message.case === "start") checkPinned(task, message.value);
          if (message.case === "finish") return await incoming.settle();
          const wait = incoming.take(message);
          if (wait !== undefined) await wait;
        }
        const wait = incoming.pass();
        if (wait !== undefined) await wait;
      }
      throw new ArtifactsDownloadError("the server ended the download before it was complete");
    } catch (error) {
      const wrong = error instanceof RefetchError ? error : undefined;
      await incoming.leave(wrong);
      if (wrong && mayComeAgain(task, wrong)) continue;
      if (incoming.received > before) patience.progressed();
      await patience.wait(error, signal);
    }
  }
}

function mayComeAgain({ refetched }: Task, { path }: RefetchError): boolean {
  const fetches = (refetched.get(path) ?? 0) + 1;
  refetched.set(path, fetches);
  return fetches < DAMAGED_FILE_FETCHES;
}

function list(
  { link, path, signal }: Pick<Task, "link" | "path" | "signal">,
  reference: Reference,
  { reached, ...page }: { readonly pageSize: number; readonly pageToken?: string; readonly reached: boolean },
): Promise<ListEntriesResponse> {
  const request = { project: link.settings.project, reference, prefix: path, recursive: true, ...page };
  return link.call((service, call) => service.listEntries(request, call), { signal, reached });
}

function checkPinned({ pinned }: Task, start: DownloadStart): void {
  if (start.run !== pinned.run || start.commit !== pinned.commit) throw changed();
}

function changed(): ArtifactsDownloadError {
  return new ArtifactsDownloadError("what the reference names changed during the download: start it again");
}
