/** What changes runs and tags without bytes: deleting a run, creating and deleting tags. */
import { create } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import {
  DeletionSchema,
  type TagEntry,
  TagRemovalSchema,
  TagSetSchema,
  UploadEndSchema,
} from "../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { checkId, checkName, checkPathOrRoot } from "./check.ts";
import type { Context } from "./context.ts";
import { ArtifactsFailure } from "./errors.ts";
import { endedKey } from "./keys.ts";
import { deletedSeqAfter, type Logged, stateOf } from "./log.ts";
import { pageOf } from "./paging.ts";
import { pin } from "./pin.ts";
import { type TagLogged, tagExists, tagNotFound } from "./tags.ts";
import type { PageRequest, TagInfo } from "./types.ts";
import { checkNotCollected, uploadGone } from "./uploads/commit.ts";
import { randomId } from "./uploads/uploads.ts";
import { pathNotFound, runNotFound } from "./views.ts";

const TAG_PAGE = { defaultSize: 1000, maxSize: 1000 };

export async function deleteRun(
  context: Context,
  project: string,
  run: string,
  options: { force?: boolean; requestId?: string } = {},
): Promise<readonly string[]> {
  checkName("project", project);
  checkName("run", run);
  const id = requestId(context, options.requestId);
  const tags = await tagsOf(context, project, run);
  const head = await context.log.head(project, run);
  const made = head && (await findDeletion(context, project, run, head, id));
  if (made) return finishDeletion(context, project, run, id, options.force === true, made);
  if (tags.length > 0 && !options.force) {
    if (!head || !stateOf(head)) throw runNotFound(run);
    const names = tags.map((tag) => JSON.stringify(tag)).join(", ");
    throw new ArtifactsFailure("RUN_HAS_TAGS", `run "${run}" has tags: ${names}; delete them first, or force the deletion`, {
      run,
      tags: tags.join(","),
    });
  }
  if (options.force) await deleteTags(context, project, run, id, tags);
  const deletion = await appendDeletion(context, project, run, id, tags);
  return finishDeletion(context, project, run, id, options.force === true, deletion);
}

/** A deletion, and its number. */
interface MadeDeletion {
  readonly seq: number;
  readonly tags: readonly string[];
}

// A tag that was made while the run was being deleted would keep showing it. One of a later run of the same name is left alone.
async function finishDeletion(
  context: Context,
  project: string,
  run: string,
  id: string,
  force: boolean,
  { seq, tags }: MadeDeletion,
): Promise<readonly string[]> {
  if (force) await deleteTags(context, project, run, `${id}-again`, await tagsOf(context, project, run, seq));
  return tags;
}

async function appendDeletion(context: Context, project: string, run: string, id: string, tags: readonly string[]): Promise<MadeDeletion> {
  return context.lock(`${project}/${run}`, async () => {
    for (;;) {
      const head = await context.log.head(project, run);
      const made = head && (await findDeletion(context, project, run, head, id));
      if (made) return made;
      if (!head || !stateOf(head)) throw runNotFound(run);
      const change = { case: "deletion" as const, value: create(DeletionSchema, { tags: [...tags] }) };
      if (await context.log.append(project, run, head, id, change, context.now())) return { seq: head.seq + 1, tags };
    }
  });
}

// The deletion that this request made before, also if the run was used again since.
async function findDeletion(context: Context, project: string, run: string, head: Logged, id: string): Promise<MadeDeletion | undefined> {
  for (let seq = deletedSeqAfter(head); seq > 0; ) {
    const entry = await context.log.entry(project, run, seq);
    if (entry.id === id && entry.change.case === "deletion") return { seq, tags: entry.change.value.tags };
    seq = Number(entry.deletedSeq);
  }
  return undefined;
}

async function deleteTags(context: Context, project: string, run: string, id: string, tags: readonly string[]): Promise<void> {
  for (const tag of tags) {
    try {
      await context.tags.append(project, tag, id, removal(), context.now(), (head) => {
        // Somebody may have removed it meanwhile, and set it to another run.
        if (head?.entry.change.case !== "set" || head.entry.change.value.run !== run) throw tagNotFound(tag);
      });
    } catch (error) {
      if (!(error instanceof ArtifactsFailure && error.reason === "TAG_NOT_FOUND")) throw error;
    }
  }
}

/** The tags of a run, or of its commits before `seq`. */
async function tagsOf(context: Context, project: string, run: string, seq = Number.POSITIVE_INFINITY): Promise<string[]> {
  const tags = await context.tags.all(project);
  return tags.filter(({ info }) => info.run === run && info.commit < seq).map(({ info }) => info.name);
}

export async function createTag(
  context: Context,
  project: string,
  tag: string,
  target: { run: string; commit?: number; path?: string; requestId?: string },
): Promise<TagInfo> {
  checkName("project", project);
  checkName("tag", tag);
  const id = requestId(context, target.requestId);
  const path = checkPathOrRoot(target.path ?? "");
  const reference = { run: target.run, commit: target.commit };
  const ours = await context.tags.made(project, tag, id);
  if (ours) return infoOf(tag, ours);
  const { start, source } = await pin(context, project, id, reference, { tag });
  if (path !== "" && !(await source.view.exists(path))) throw pathNotFound(path, source, reference);
  const value = create(TagSetSchema, { run: source.run, seq: BigInt(source.seq), path });
  const made = await context.tags.append(project, tag, id, { case: "set", value }, context.now(), async (head) => {
    if (head?.entry.change.case === "set") throw tagExists(tag);
    await checkNotCollected(context, project, id, start);
    // Garbage collection shuts out a request that slept by an end, where it can't do so by an entry.
    if (await context.objects.getFresh(endedKey(project, id), UploadEndSchema)) throw uploadGone(id);
  });
  return infoOf(tag, made);
}

export async function getTag(context: Context, project: string, tag: string): Promise<TagInfo> {
  checkName("project", project);
  checkName("tag", tag);
  const found = await context.tags.find(project, tag);
  if (!found) throw tagNotFound(tag);
  return found.info;
}

export async function listTags(
  context: Context,
  project: string,
  page: PageRequest = {},
): Promise<{ tags: readonly TagInfo[]; nextPageToken: string }> {
  checkName("project", project);
  const all = (await context.tags.all(project)).map((tag) => tag.info);
  const { items, nextPageToken } = pageOf(all, (tag) => tag.name, page, TAG_PAGE);
  return { tags: items, nextPageToken };
}

export async function deleteTag(context: Context, project: string, tag: string, options: { requestId?: string } = {}): Promise<void> {
  checkName("project", project);
  checkName("tag", tag);
  const id = requestId(context, options.requestId);
  await context.tags.append(project, tag, id, removal(), context.now(), (head) => {
    if (head?.entry.change.case !== "set") throw tagNotFound(tag);
  });
}

function removal(): TagEntry["change"] {
  return { case: "removal", value: create(TagRemovalSchema) };
}

function infoOf(name: string, { entry }: TagLogged): TagInfo {
  if (entry.change.case !== "set") throw tagNotFound(name);
  const { run, seq, path } = entry.change.value;
  return { name, run, commit: Number(seq), path, created: entry.time ? timestampDate(entry.time) : new Date(0) };
}

function requestId(context: Context, id: string | undefined): string {
  if (!id) return `request-${randomId(context)}`;
  checkId(id);
  return id;
}
