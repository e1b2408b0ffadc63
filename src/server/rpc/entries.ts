/** Listings of what runs and tags hold. */
import { callOf, type Handlers, projectOf, type Served } from "./context.ts";
import { fromEntry, toPage, toReference } from "./convert.ts";

export function entriesHandlers(served: Served): Handlers<"listEntries"> {
  return {
    async listEntries(request, context) {
      const project = projectOf(served, callOf(context), request.project);
      const { prefix, recursive } = request;
      const page = await served.artifacts.listEntries(project, toReference(request.reference), { prefix, recursive, ...toPage(request) });
      return {
        entries: page.entries.map(fromEntry),
        nextPageToken: page.nextPageToken,
        totalFiles: BigInt(page.totalFiles),
        totalBytes: BigInt(page.totalBytes),
        run: page.run,
        commit: BigInt(page.commit),
      };
    },
  };
}
