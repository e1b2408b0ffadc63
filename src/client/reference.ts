/** Names what is shown: a run at a commit, or a tag. */
import { create } from "@bufbuild/protobuf";
import { type Reference, ReferenceSchema } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { ArtifactsDownloadError } from "./errors.ts";
import { checkName } from "./settings.ts";

/** Exactly one of the two. */
export interface ReferenceOptions {
  readonly run?: string | undefined;
  readonly tag?: string | undefined;
  /** One of the run's commits; default the newest. */
  readonly commit?: number | undefined;
}

const fail = (message: string) => new ArtifactsDownloadError(message);

/** The message for the server; refuses anything but exactly one of run and tag. */
export function referenceOf({ run, tag, commit }: ReferenceOptions): Reference {
  if (run !== undefined && tag !== undefined) throw fail("run and tag were both given: name one of them");
  if (tag !== undefined) {
    checkName("tag", tag, fail);
    if (commit !== undefined) throw fail("a tag shows one commit: name the run to choose another");
    return create(ReferenceSchema, { target: { case: "tag", value: tag } });
  }
  if (run === undefined) throw fail("neither run nor tag was given: name one of them");
  checkName("run", run, fail);
  if (commit !== undefined && !(Number.isSafeInteger(commit) && commit > 0)) throw fail(`commit ${commit} must be a whole number from 1`);
  return runReference(run, BigInt(commit ?? 0));
}

export function runReference(name: string, commit: bigint): Reference {
  return create(ReferenceSchema, { target: { case: "run", value: { name, commit } } });
}
