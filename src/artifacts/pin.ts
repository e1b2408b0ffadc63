/**
 * What a copy or a new tag points at is kept from garbage collection by `uploads/{id}`, which names the commit. Only when that is stored is
 * it asked whether the commit can be seen: a deletion comes either before that, and is noticed, or after it, and spares what is named.
 */
import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type UploadStart, UploadStartSchema } from "../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import type { Context } from "./context.ts";
import { ArtifactsFailure } from "./errors.ts";
import { uploadKey } from "./keys.ts";
import type { Reference } from "./types.ts";
import type { ResolvedView } from "./views.ts";

/** What is made of the commit: a copy into a run, or a tag. */
export interface PinTarget {
  readonly run?: string;
  readonly tag?: string;
  /** The newest number of the run's log before the copy. */
  beginSeq?(): Promise<number>;
}

export interface Pinned {
  readonly start: UploadStart;
  readonly source: ResolvedView;
}

/** Names the commit that a reference shows, or finds what the same request named before; the commit can be seen then. */
export async function pin(context: Context, project: string, id: string, reference: Reference, target: PinTarget): Promise<Pinned> {
  const key = uploadKey(project, id);
  let start = await context.objects.getFresh(key, UploadStartSchema);
  if (!start) {
    const { run, seq } = await context.views.resolve(project, reference);
    const made = create(UploadStartSchema, {
      run: target.run ?? run,
      tag: target.tag ?? "",
      beginSeq: BigInt((await target.beginSeq?.()) ?? 0),
      time: timestampFromDate(context.now()),
      sourceRun: run,
      sourceSeq: BigInt(seq),
    });
    start = (await context.objects.put(key, UploadStartSchema, made)) ? made : await context.objects.getFresh(key, UploadStartSchema);
  }
  if (!start || !isSame(start, target)) throw otherRequest(id);
  const commit = Number(start.sourceSeq);
  const source = await context.views.resolve(
    project,
    "tag" in reference ? reference : { run: reference.run, commit: reference.commit || commit },
  );
  if (source.run !== start.sourceRun || source.seq !== commit) throw otherRequest(id);
  return { start, source };
}

/** Whether a start is that of a tag that is made of a commit. */
export function isTagging(start: UploadStart): boolean {
  return start.tag !== "" && start.sourceRun !== "";
}

function isSame(start: UploadStart, { run, tag = "" }: PinTarget): boolean {
  return start.sourceRun !== "" && start.tag === tag && (run === undefined || start.run === run);
}

function otherRequest(id: string): ArtifactsFailure {
  return new ArtifactsFailure("UPLOAD_ID_MISMATCH", `request ${id} was begun for something else: send this one with an id of its own`, {
    upload_id: id,
  });
}
