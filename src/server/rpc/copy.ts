/** Copies within the store. */
import { callOf, type Handlers, projectOf, type Served } from "./context.ts";
import { toReference } from "./convert.ts";

export function copyHandlers(served: Served): Handlers<"copy"> {
  return {
    async copy(request, context) {
      const call = callOf(context);
      const { sourcePath, run, path, requestId } = request;
      const project = projectOf(served, call, request.project);
      const source = toReference(request.source);
      const query = {
        project,
        source,
        sourcePath,
        run,
        ...(path === undefined ? {} : { path }),
        ...(requestId === "" ? {} : { requestId }),
      };
      const committed = await call.track(served.artifacts.copy(query, { signal: call.signal }));
      return {
        run: committed.run,
        commit: BigInt(committed.commit),
        files: BigInt(committed.files),
        bytes: BigInt(committed.bytes),
      };
    },
  };
}
