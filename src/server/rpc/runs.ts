/** Runs: looked at and deleted. */
import type { RunInfo } from "../../artifacts/types.ts";
import { callOf, type Handlers, projectOf, type Served } from "./context.ts";
import { timestampFromDate, toPage } from "./convert.ts";

export function runsHandlers(served: Served): Handlers<"getRun" | "listRuns" | "deleteRun"> {
  const { artifacts } = served;
  return {
    async getRun(request, context) {
      return { run: fromRun(await artifacts.getRun(projectOf(served, callOf(context), request.project), request.run)) };
    },
    async listRuns(request, context) {
      const { runs, nextPageToken } = await artifacts.listRuns(projectOf(served, callOf(context), request.project), toPage(request));
      return { runs: runs.map(fromRun), nextPageToken };
    },
    async deleteRun(request, context) {
      const project = projectOf(served, callOf(context), request.project);
      const { force, requestId } = request;
      return { tags: [...(await artifacts.deleteRun(project, request.run, { force, ...(requestId === "" ? {} : { requestId }) }))] };
    },
  };
}

function fromRun({ name, commits, newestCommit, files, bytes, created, tags }: RunInfo) {
  return {
    name,
    commits: BigInt(commits),
    newestCommit: BigInt(newestCommit),
    files: BigInt(files),
    bytes: BigInt(bytes),
    created: timestampFromDate(created),
    tags: [...tags],
  };
}
