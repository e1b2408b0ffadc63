/** Garbage collection, which concerns all projects. */
import { needAllProjects } from "../access.ts";
import { callOf, type Handlers, principalOf, type Served } from "./context.ts";
import { fromDuration } from "./convert.ts";

export function gcHandlers(served: Served): Handlers<"collectGarbage"> {
  return {
    async *collectGarbage(request, context) {
      const call = callOf(context);
      needAllProjects(principalOf(call));
      const graceMs = request.grace === undefined ? undefined : fromDuration(request.grace, "the grace period");
      const options = { dryRun: request.dryRun, ...(graceMs === undefined ? {} : { graceMs }) };
      for await (const progress of served.artifacts.collectGarbage(options, { signal: call.signal })) {
        yield {
          scannedObjects: BigInt(progress.scannedObjects),
          condemnedObjects: BigInt(progress.condemnedObjects),
          condemnedBytes: BigInt(progress.condemnedBytes),
          deletedObjects: BigInt(progress.deletedObjects),
          deletedBytes: BigInt(progress.deletedBytes),
          done: progress.done,
        };
      }
    },
  };
}
