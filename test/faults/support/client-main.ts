/**
 * A client that kills itself, as SIGKILL does, at its n-th reading from a file or writing to the server. Prints what came of the upload, and
 * how many of these it made.
 *
 * Usage: client-main.ts URL FOLDER RUN UPLOAD_ID [N]
 */
import fs from "node:fs";
import http2 from "node:http2";
import { syncBuiltinESMExports } from "node:module";

const [url = "", folder = "", run = "", uploadId = "", at = "0"] = process.argv.slice(2);
const fatal = Number(at);
let calls = 0;

function count(): void {
  if (++calls === fatal) process.kill(process.pid, "SIGKILL");
}

/** Counts the calls of a method, before they are made. */
function counted<T extends object>(holder: T, name: keyof T & string): void {
  const original = holder[name] as (...args: unknown[]) => unknown;
  holder[name] = function (this: unknown, ...args: unknown[]) {
    count();
    return original.apply(this, args);
  } as T[keyof T & string];
}

counted(fs, "readSync");
const handle = await fs.promises.open(import.meta.filename);
counted(Object.getPrototypeOf(handle) as fs.promises.FileHandle, "read");
await handle.close();
const connect = http2.connect;
http2.connect = ((...args: Parameters<typeof connect>) => {
  const session = connect(...args);
  const request = session.request.bind(session);
  session.request = (...requestArgs) => {
    const stream = request(...requestArgs);
    counted(stream, "write");
    counted(stream, "end");
    return stream;
  };
  return session;
}) as typeof connect;
syncBuiltinESMExports();

const { createClient } = await import("../../../src/client/client.ts");
const client = createClient({ url, env: {} });
const { commit } = await client.upload({ localPath: folder, artifactPath: "", run, uploadId });
await client.close();
process.stdout.write(`commit ${commit}, ${calls} calls\n`);
