/** The library's client: uploads a folder to a run, or downloads a run to a folder. */
import { createClient } from "../../src/index.ts";
import type { Role } from "../worker.ts";

export async function start({ url }: { url: string }): Promise<Role> {
  const client = createClient({ url });
  return {
    async run({ direction, files, bytes, source, run, target }) {
      const done =
        direction === "up"
          ? await client.upload({ localPath: source as string, artifactPath: "", run: run as string })
          : await client.download({ localPath: target as string, run: run as string });
      if (done.files !== files || done.bytes !== files * bytes) throw new Error(`${done.files} files of ${done.bytes} bytes arrived`);
    },
    close: () => client.close(),
  };
}
