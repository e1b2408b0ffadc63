/** The command line as it lies here, in whose folder the clouds' SDKs are. */
import { strict as assert } from "node:assert";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { NODE_FLAGS } from "../support/node-flags.ts";
import type { StoreAddress } from "./stores.ts";

const MAIN = resolve(import.meta.dirname, "../../src/main.ts");

export interface Place {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
}

/** Runs a command that must succeed; gives its one JSON value. */
export async function json<T = Record<string, unknown>>(args: readonly string[], place: Place): Promise<T> {
  return JSON.parse(await ok([...args, "--json"], place)) as T;
}

/** Runs a command that must succeed; gives what it wrote to stdout. */
export async function ok(args: readonly string[], place: Place): Promise<string> {
  const { code, stdout, stderr } = await run(args, place);
  assert.equal(code, 0, `${args.join(" ")}: ${stderr}`);
  return stdout;
}

/** Runs a command that must fail; gives its one line of error. */
export async function fails(args: readonly string[], place: Place): Promise<string> {
  const { code, stdout, stderr } = await run(args, place);
  assert.equal(code, 1, `${args.join(" ")}: ${stdout}${stderr}`);
  assert.match(stderr, /^error: [^\n]+\n$/);
  return stderr;
}

async function run(args: readonly string[], place: Place) {
  const child = launch(args, place);
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout as NodeJS.ReadableStream),
    text(child.stderr as NodeJS.ReadableStream),
    once(child, "close"),
  ]);
  return { code: code as number | null, stdout, stderr };
}

function launch(args: readonly string[], { cwd, env = {} }: Place): ChildProcess {
  const child = spawn(process.execPath, [...NODE_FLAGS, MAIN, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    ...(cwd ? { cwd } : {}),
    env: { PATH: process.env["PATH"], HOME: tmpdir(), ...env },
  });
  const killWithUs = () => child.kill("SIGKILL");
  process.once("exit", killWithUs);
  child.once("exit", () => process.off("exit", killWithUs));
  return child;
}

export interface Served {
  readonly url: string;
  readonly pid: number;
  /** Ends it as a supervisor does. */
  stop(): Promise<void>;
}

/** A server on a store, with a socket of its own, that is ready. */
export async function serve(store: StoreAddress): Promise<Served> {
  const folder = mkdtempSync(join(tmpdir(), "dstack-artifacts-serve-"));
  const url = `unix://${folder}/s.sock`;
  const child = launch(["serve", "--quiet", "--store", store.url, "--listen", url], { env: store.env });
  const ended = once(child, "exit");
  const said = text(child.stderr as NodeJS.ReadableStream);
  for await (const line of createInterface(child.stdout as NodeJS.ReadableStream)) {
    if (!line.startsWith("run ")) continue;
    return {
      url,
      pid: child.pid as number,
      async stop() {
        child.kill("SIGTERM");
        const [code] = await ended;
        rmSync(folder, { recursive: true, force: true });
        assert.equal(code, 0, `the server ended with ${code}: ${await said}`);
      },
    };
  }
  rmSync(folder, { recursive: true, force: true });
  throw new Error(`the server did not start: ${await said}`);
}
