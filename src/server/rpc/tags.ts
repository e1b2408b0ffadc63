/** Tags: created, looked at and deleted. */
import type { TagInfo } from "../../artifacts/types.ts";
import { callOf, type Handlers, projectOf, type Served } from "./context.ts";
import { timestampFromDate, toNumber, toPage } from "./convert.ts";

export function tagsHandlers(served: Served): Handlers<"createTag" | "getTag" | "listTags" | "deleteTag"> {
  const { artifacts } = served;
  return {
    async createTag(request, context) {
      const project = projectOf(served, callOf(context), request.project);
      const { run, path, requestId } = request;
      const tag = await artifacts.createTag(project, request.tag, {
        run,
        path,
        ...(request.commit === 0n ? {} : { commit: toNumber(request.commit, "commit") }),
        ...(requestId === "" ? {} : { requestId }),
      });
      return { tag: fromTag(tag) };
    },
    async getTag(request, context) {
      return { tag: fromTag(await artifacts.getTag(projectOf(served, callOf(context), request.project), request.tag)) };
    },
    async listTags(request, context) {
      const { tags, nextPageToken } = await artifacts.listTags(projectOf(served, callOf(context), request.project), toPage(request));
      return { tags: tags.map(fromTag), nextPageToken };
    },
    async deleteTag(request, context) {
      const { requestId } = request;
      await artifacts.deleteTag(projectOf(served, callOf(context), request.project), request.tag, requestId === "" ? {} : { requestId });
      return {};
    },
  };
}

function fromTag({ name, run, commit, path, created }: TagInfo) {
  return { name, run, commit: BigInt(commit), path, created: timestampFromDate(created) };
}
