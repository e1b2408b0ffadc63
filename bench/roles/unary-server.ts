/**
 * What a service would do that has a call for each file: stock grpc-js, one message a file, written and read with `fs.promises`. Either as
 * simply as can be, or with the promises that ours makes: a file has its name when it is whole, and its time; one that was uploaded is on
 * the disk before the call is answered.
 */
import { mkdir, mkdtemp, open, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Server, ServerCredentials, type ServiceDefinition, type UntypedHandleCall } from "@grpc/grpc-js";
import type { Role } from "../worker.ts";

const asIs = (bytes: Buffer): Buffer => bytes;
const method = (path: string) => ({
  path,
  requestStream: false,
  responseStream: false,
  requestSerialize: asIs,
  requestDeserialize: asIs,
  responseSerialize: asIs,
  responseDeserialize: asIs,
});

/** A file's path, a NUL and its bytes; or its path alone, for its bytes. */
export const FILES_SERVICE = { put: method("/bench.Files/Put"), get: method("/bench.Files/Get") } satisfies ServiceDefinition;

/** Writes a file that has its name only when it is whole. */
export async function writeSafely(path: string, bytes: Uint8Array, { sync }: { readonly sync: boolean }): Promise<void> {
  const partial = `${path}.partial`;
  const file = await open(partial, "wx");
  try {
    await file.writeFile(bytes);
    await file.utimes(0, 0);
    if (sync) await file.sync();
  } finally {
    await file.close();
  }
  await rename(partial, path);
}

type Unary = (call: { request: Buffer }, answer: (error: Error | null, value?: Buffer) => void) => void;

export async function start({ folder, isSafe }: { folder: string; isSafe: boolean }): Promise<Role> {
  const made = new Set<string>();
  const answered = (work: (request: Buffer) => Promise<Buffer>): Unary => {
    return ({ request }, answer) => void work(request).then((value) => answer(null, value), answer);
  };
  const put = answered(async (request) => {
    const end = request.indexOf(0);
    const path = join(folder, request.toString("utf8", 0, end));
    const parent = dirname(path);
    if (!made.has(parent)) await mkdir(parent, { recursive: true });
    made.add(parent);
    const bytes = request.subarray(end + 1);
    await (isSafe ? writeSafely(path, bytes, { sync: true }) : writeFile(path, bytes));
    return Buffer.alloc(0);
  });
  const get = answered((request) => readFile(join(folder, request.toString())));
  const server = new Server();
  server.addService(FILES_SERVICE, { put, get } as unknown as Record<keyof typeof FILES_SERVICE, UntypedHandleCall>);
  const socketFolder = await mkdtemp(join(tmpdir(), "bench-"));
  const url = `unix://${join(socketFolder, "s.sock")}`;
  await new Promise<void>((resolve, reject) =>
    server.bindAsync(url, ServerCredentials.createInsecure(), (error) => (error ? reject(error) : resolve())),
  );
  return {
    url,
    async close() {
      server.forceShutdown();
      await rm(socketFolder, { recursive: true, force: true });
    },
  };
}
