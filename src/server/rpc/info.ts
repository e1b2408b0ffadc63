/** What the server is. */
import { MAX_CHUNK_BYTES, MAX_MESSAGE_BYTES } from "../../wire/limits.ts";
import type { Handlers, Served } from "./context.ts";

export function infoHandlers({ version, project, run, storeKind }: Served): Handlers<"getServerInfo"> {
  return {
    getServerInfo: () => ({
      version,
      project,
      run,
      storeKind,
      maxChunkBytes: MAX_CHUNK_BYTES,
      maxMessageBytes: MAX_MESSAGE_BYTES,
      capabilities: [],
    }),
  };
}
