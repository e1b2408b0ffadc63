/** The other end of unary-server: many calls at once, each a file. */
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { Client, credentials } from "@grpc/grpc-js";
import type { Role } from "../worker.ts";
import { FILES_SERVICE, writeSafely } from "./unary-server.ts";

/** Enough to keep both ends busy; more gain nothing. */
const CALLS_AT_ONCE = 32;

export async function start({ url, isSafe }: { url: string; isSafe: boolean }): Promise<Role> {
  const client = new Client(url, credentials.createInsecure());

  function call({ path, requestSerialize, responseDeserialize }: (typeof FILES_SERVICE)["put"], request: Buffer): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, (error, value) =>
        error ? reject(error) : resolve(value as Buffer),
      );
    });
  }

  return {
    async run({ direction, source, target }) {
      const from = source as string;
      const entries = await readdir(from, { recursive: true, withFileTypes: true });
      const paths = entries.filter((entry) => entry.isFile()).map((entry) => relative(from, join(entry.parentPath, entry.name)));
      const made = new Set<string>();
      const one = async (path: string): Promise<void> => {
        if (direction === "up") {
          await call(FILES_SERVICE.put, Buffer.concat([Buffer.from(`${path}\0`), await readFile(join(from, path))]));
          return;
        }
        const bytes = await call(FILES_SERVICE.get, Buffer.from(path));
        const local = join(target as string, path);
        const parent = dirname(local);
        if (!made.has(parent)) await mkdir(parent, { recursive: true });
        made.add(parent);
        await (isSafe ? writeSafely(local, bytes, { sync: false }) : writeFile(local, bytes));
      };
      let next = 0;
      const lane = async (): Promise<void> => {
        while (next < paths.length) await one(paths[next++] as string);
      };
      await Promise.all(Array.from({ length: CALLS_AT_ONCE }, lane));
    },
    async close() {
      client.close();
    },
  };
}
