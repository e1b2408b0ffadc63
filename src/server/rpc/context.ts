/** What the handlers of calls have in common. */
import { createContextKey, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import type { ArtifactsService } from "../../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import type { Artifacts } from "../../artifacts/types.ts";
import { projectFor } from "../access.ts";
import type { Call } from "../calls.ts";
import type { Principal } from "../tokens.ts";
import type { UploadStreams } from "./upload-streams.ts";

/** What the server serves. */
export interface Served {
  readonly artifacts: Artifacts;
  readonly storeKind: string;
  readonly project: string;
  readonly run: string;
  readonly version: string;
  readonly uploadStreams: UploadStreams;
}

/** Some of the service's calls. */
export type Handlers<Name extends keyof typeof ArtifactsService.method> = Pick<ServiceImpl<typeof ArtifactsService>, Name>;

/** Carries the call from the listener to its handler. */
export const callKey = createContextKey<Call | undefined>(undefined, { description: "call" });

export function callOf(context: HandlerContext): Call {
  const call = context.values.get(callKey);
  if (call === undefined) throw new Error("a handler was reached without a call");
  return call;
}

export function principalOf(call: Call): Principal {
  if (call.principal === undefined) throw new Error("a handler was reached without authorization");
  return call.principal;
}

/** The project that a request is for, if its sender may see it. */
export function projectOf(served: Served, call: Call, asked: string): string {
  return projectFor(principalOf(call), asked, served.project);
}
