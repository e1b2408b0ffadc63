/** What a tag of a path shows: that path alone, where it is in its run. */
import { comparePaths, isWithin } from "../../lib/paths.ts";
import { childOf, type View, withoutExtents } from "./view.ts";

/** `shown` must be there. A folder above it has it and nothing else. */
export function narrowed(view: View, shown: string): View {
  if (shown === "") return view;
  return {
    async *entries(query) {
      const path = both(query.path ?? "");
      if (path !== undefined) yield* view.entries({ ...query, path });
    },

    async *children(folder, query = {}) {
      if (isWithin(folder, shown)) {
        yield* view.children(folder, query);
        return;
      }
      if (!isWithin(shown, folder)) return;
      const path = childOf(folder, shown);
      const { startAfter = "" } = query;
      if (startAfter !== "" && comparePaths(path, startAfter) <= 0) return;
      const itself = path === shown ? await view.get(path) : undefined;
      yield [itself ? withoutExtents(itself) : { path, type: "folder" }];
    },

    async get(path) {
      return isWithin(path, shown) ? view.get(path) : undefined;
    },

    async exists(path) {
      const within = both(path);
      return within !== undefined && view.exists(within);
    },

    async totals(path) {
      const within = both(path);
      return within === undefined ? { files: 0, bytes: 0 } : view.totals(within);
    },
  };

  /** What is under a path and shown, itself a path. */
  function both(path: string): string | undefined {
    if (isWithin(path, shown)) return path;
    return isWithin(shown, path) ? shown : undefined;
  }
}
