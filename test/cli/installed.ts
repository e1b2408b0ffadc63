/** The command line as a user has it: the built package, packed, and installed elsewhere. Once for all tests of a process. */
import { strict as assert } from "node:assert";
import { execFile, type SpawnOptions, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { buffer, text } from "node:stream/consumers";
import { promisify } from "node:util";

const run = promisify(execFile);
const project = resolve(import.meta.dirname, "../..");
/** The runtime that the tests run on comes before the machine's own. */
const PATH = `${dirname(process.execPath)}:${process.env["PATH"]}`;

let installing: Promise<string> | undefined;

/** The folder that the package is installed in. */
export function installed(): Promise<string> {
  return (installing ??= install());
}

async function install(): Promise<string> {
  const folder = fs.mkdtempSync(join(tmpdir(), "installed-"));
  process.once("exit", () => fs.rmSync(folder, { recursive: true, force: true }));
  const env = { ...process.env, PATH };
  // `npm pack` builds it first.
  const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", folder], { cwd: project, env });
  const [{ filename }] = JSON.parse(stdout.slice(stdout.indexOf("[\n"))) as [{ filename: string }];
  fs.writeFileSync(join(folder, "package.json"), '{ "private": true }\n');
  await run("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", join(folder, filename)], { cwd: folder, env });
  return folder;
}

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  readonly cwd?: string;
  /** All of the environment, beside PATH. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A command that runs. */
export async function start(args: readonly string[], { cwd, env = {} }: CliOptions = {}, options: SpawnOptions = {}) {
  const bin = join(await installed(), "node_modules/.bin/dstack-artifacts");
  return spawn(bin, args, {
    stdio: ["ignore", "pipe", "pipe"],
    ...options,
    ...(cwd ? { cwd } : {}),
    env: { PATH, HOME: "/nonexistent", ...env },
  });
}

/** Runs a command to its end. */
export async function cli(args: readonly string[], options: CliOptions = {}): Promise<Ended> {
  const child = await start(args, options);
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout as NodeJS.ReadableStream),
    text(child.stderr as NodeJS.ReadableStream),
    once(child, "close"),
  ]);
  return { code, stdout, stderr };
}

/** Runs a command that must succeed, and gives what it wrote to stdout. */
export async function ok(args: readonly string[], options: CliOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await cli(args, options);
  assert.equal(code, 0, `${args.join(" ")}: ${stderr}`);
  return stdout;
}

/** The one JSON value that a command prints with `--json`. */
export async function json<T = Record<string, unknown>>(args: readonly string[], options: CliOptions = {}): Promise<T> {
  return JSON.parse(await ok([...args, "--json"], options)) as T;
}

/** The bytes that a command writes. */
export async function bytes(args: readonly string[], options: CliOptions = {}): Promise<Buffer> {
  const child = await start(args, options);
  const [stdout, [code]] = await Promise.all([buffer(child.stdout as NodeJS.ReadableStream), once(child, "close")]);
  assert.equal(code, 0);
  return stdout;
}

/** Runs a command that must fail with `code` and one line, which it gives without its `error: `. */
export async function fails(args: readonly string[], options: CliOptions = {}, expectedCode = 1): Promise<string> {
  const { code, stdout, stderr } = await cli(args, options);
  assert.equal(code, expectedCode, `${args.join(" ")}: ${stdout}${stderr}`);
  const line = /^error: (.+)\n$/.exec(stderr);
  assert.ok(line, `not one line that begins with error: ${JSON.stringify(stderr)}`);
  assert.equal(stdout, "", "a failed command has no result");
  return line[1] as string;
}

export interface Served extends AsyncDisposable {
  readonly process: Awaited<ReturnType<typeof start>>;
  /** What it printed until it was ready. */
  readonly lines: readonly string[];
  /** Of the first address. */
  readonly url: string;
  readonly run: string;
  /** Ends it as a supervisor does, and gives its exit code. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

/** A server that is ready. */
export async function serve(args: readonly string[], options: CliOptions = {}): Promise<Served> {
  const child = await start(["serve", "--quiet", ...args], options);
  const ended = once(child, "exit") as Promise<[number | null]>;
  const said = text(child.stderr as NodeJS.ReadableStream);
  const lines: string[] = [];
  for await (const line of createInterface(child.stdout as NodeJS.ReadableStream)) {
    lines.push(line);
    if (!line.startsWith("run ")) continue;
    const stop = async (signal: NodeJS.Signals = "SIGTERM") => {
      child.kill(signal);
      const [code] = await ended;
      return code;
    };
    return {
      process: child,
      lines,
      url: (lines[0] ?? "").replace("listening on ", ""),
      run: line.slice("run ".length),
      stop,
      [Symbol.asyncDispose]: async () => void (await stop("SIGKILL")),
    };
  }
  throw new Error(`the server did not start: ${await said}`);
}
