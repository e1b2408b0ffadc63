/** Uploads a tree without a server, as one that gets the client's messages would. */
import { randomUUID } from "node:crypto";
import type { Artifacts, Committed } from "../../../src/artifacts/types.ts";
import { crc32c } from "../../../src/lib/crc32c.ts";
import type { Tree } from "./folders.ts";
import { PROJECT } from "./look.ts";

export async function upload(artifacts: Artifacts, run: string, uploadId: string | undefined, tree: Tree): Promise<number> {
  return (await send(artifacts, { run, uploadId: uploadId ?? randomUUID() }, tree)).commit;
}

export function uploadTagged(artifacts: Artifacts, tag: string, tree: Tree): Promise<Committed> {
  return send(artifacts, { tag, uploadId: randomUUID() }, tree);
}

async function send(artifacts: Artifacts, target: { run?: string; tag?: string; uploadId: string }, tree: Tree): Promise<Committed> {
  const session = await artifacts.startUpload({ project: PROJECT, ...target });
  try {
    let bytes = 0;
    for (const [path, content] of Object.entries(tree)) {
      bytes += content.length;
      await session.file({ path, type: "file", size: content.length, mtimeNs: 1n });
      await session.chunk(content);
      await session.endFile({ size: content.length, crc32c: crc32c(content) });
    }
    return await session.finish({ files: Object.keys(tree).length, bytes });
  } finally {
    await session.close();
  }
}
