/** Servers, folders and processes for tests of the client. */
import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { text as readText } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { type ArtifactsClient, createClient } from "../../src/client/client.ts";
import type { ClientOptions } from "../../src/client/settings.ts";
import { openArtifacts } from "../../src/compose.ts";
import { createLogger } from "../../src/server/logger.ts";
import type { ServerOptions } from "../../src/server/options.ts";
import { type RunningServer, startServer } from "../../src/server/server.ts";

export const SERVER_RUN = "server-run-1";

export interface TempFolder extends Disposable {
  readonly path: string;
}

export function tempFolder(): TempFolder {
  // The real path, as folders are compared by text.
  const path = fs.realpathSync(fs.mkdtempSync(join(tmpdir(), "client-")));
  return { path, [Symbol.dispose]: () => fs.rmSync(path, { recursive: true, force: true }) };
}

export interface TestServer extends RunningServer, AsyncDisposable {
  readonly url: string;
}

/** Of data objects: small, so that a small upload has many. */
export const OBJECT_BYTES = 1024 * 1024;

/** A server at a socket in `folder`, or where `options` say, which closes its store with it. */
export async function serve(storeUrl: string, folder: string, options: Partial<ServerOptions> = {}): Promise<TestServer> {
  const { artifacts, storeKind } = await openArtifacts(storeUrl, { settings: { dataObjectBytes: OBJECT_BYTES } });
  const server = await startServer({
    artifacts,
    storeKind,
    version: "0.0.0-test",
    project: "main",
    run: SERVER_RUN,
    listen: [`unix://${folder}/server.sock`],
    logger: createLogger("silent", new Writable({ write: (_line, _encoding, done) => done() })),
    graceMs: 0,
    ...options,
  });
  const close = async () => {
    await server.close();
    await artifacts.close();
  };
  return { ...server, close, url: server.addresses[0] as string, [Symbol.asyncDispose]: close };
}

export interface TestClient extends ArtifactsClient, AsyncDisposable {}

/** A client that knows nothing of the environment. */
export function clientAt(url: string, options: ClientOptions = {}): TestClient {
  const client = createClient({ url, env: {}, ...options });
  return { ...client, [Symbol.asyncDispose]: client.close };
}

const CHILD = fileURLToPath(new URL("child.ts", import.meta.url));

export interface RunOptions extends SpawnOptions {
  readonly onStart?: (child: ChildProcess) => void;
  /** Run by a shell before the client, in its process. */
  readonly prelude?: string;
}

/** Runs a client in another process. Gives what it told of its end, if it had the time. */
export async function run(
  what: "upload" | "download" | "peek",
  url: string,
  options: object,
  { onStart = () => {}, prelude = "", ...spawnOptions }: RunOptions = {},
): Promise<{ result?: unknown; error?: { name: string; message: string } } | undefined> {
  const env = { PATH: process.env["PATH"], HOME: process.env["HOME"], DSTACK_ARTIFACTS_URL: url };
  const command = [process.execPath, CHILD, what, JSON.stringify(options)];
  const [file, args] = ["bash", ["-c", `${prelude}\nexec "$@"`, "bash", ...command]] as const;
  const child = spawn(file, args, { env, stdio: ["ignore", "pipe", "inherit"], ...spawnOptions });
  onStart(child);
  const [text] = await Promise.all([readText(child.stdout as NodeJS.ReadableStream), once(child, "exit")]);
  return text === "" ? undefined : JSON.parse(text);
}

/** All that a stream gives. */
export async function bytesFrom(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}
