/** Garbage collection, which concerns all projects. */
import { durationMs } from "@bufbuild/protobuf/wkt";
import { needAllProjects } from "../access.ts";
import { callOf, type Handlers, principalOf, type Served } from "./context.ts";
import { invalid } from "./convert.ts";

export function gcHandlers(served: Served): Handlers<"collectGarbage"> {
  return {
    async *collectGarbage(request, context) {
      const call = callOf(context);
      needAllProjects(principalOf(call));
      const graceMs = request.grace === undefined ? undefined : durationMs(request.grace);
      if (graceMs !== undefined && graceMs < 0) throw invalid("a grace period below zero");
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
