/**
 * Shows the whole of it once: starts a server on a local folder, uploads a tree under a new tag, downloads it elsewhere and compares.
 *
 *     npm run quickstart [-- FOLDER]
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { createInterface } from "node:readline";
import { compareTrees, readTree } from "./compare-trees.ts";

const project = resolve(import.meta.dirname, "..");
const main = resolve(project, "src/main.ts");
const place = resolve(project, "tmp/quickstart");
const store = resolve(place, "store");
/** Not below `place`: a socket's path has at most 107 bytes. */
const socketFolder = mkdtempSync(join(tmpdir(), "dstack-artifacts-"));
const socket = `unix://${join(socketFolder, "server.sock")}`;
const copy = resolve(place, "downloaded");
/** A tree of several thousand files that is there after `npm ci`. */
const DEFAULT_TREE = "node_modules/@azure";

const tree = resolve(process.argv[2] ?? resolve(project, DEFAULT_TREE));
const tag = `quickstart-${new Date().toISOString().replace(/\D/g, "").slice(0, 17)}`;
/** An empty variable is an unset one. */
const env = {
  ...process.env,
  DSTACK_ARTIFACTS_URL: socket,
  DSTACK_ARTIFACTS_TOKEN: "",
  DSTACK_PROJECT: "",
  DSTACK_RUN_NAME: "",
  RUN_NAME: "",
};

try {
  await quickstart();
} catch (error) {
  console.error(`error: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
} finally {
  rmSync(socketFolder, { recursive: true, force: true });
}

async function quickstart(): Promise<void> {
  if (!statSync(tree, { throwIfNoEntry: false })?.isDirectory()) throw new Error(`${tree} is not a folder: name one after --`);
  mkdirSync(place, { recursive: true });
  rmSync(copy, { recursive: true, force: true });

  heading("A server, in front of a local folder");
  const stopServer = await startServer();
  try {
    heading(`Upload ${shown(tree)} as a new run, and give it a tag`);
    await run("upload", tree, "data", "--tag", tag);
    heading("Find it again");
    await run("ls", `:${tag}`, "data");
    heading("Download it elsewhere");
    await run("download", `:${tag}`, "data", copy);
  } finally {
    await stopServer();
  }

  heading("Compare");
  // Links were followed on the way up, so the original is looked at in the same way.
  const differences = compareTrees(readTree(tree, { followLinks: true }), readTree(copy));
  for (const difference of differences) console.log(difference);
  if (differences.length > 0) throw new Error(`${differences.length} differences between ${tree} and ${copy}`);
  console.log("Identical: every byte, mode, time and empty folder.");

  heading("Go on");
  console.log(`The store stays in ${shown(store)}. Start a server on it, and in another terminal list what is there:

  npx dstack-artifacts serve --store ${shown(store)}
  npx dstack-artifacts tags ls
  npx dstack-artifacts upload FOLDER --tag my-first-tag
`);
}

/** Resolves to what stops it, once it is ready. */
async function startServer(): Promise<() => Promise<void>> {
  const args = ["serve", "--store", store, "--listen", socket, "--quiet"];
  show(args);
  const server = spawn(process.execPath, [main, ...args], { env, stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(server, "exit");
  for await (const line of createInterface(server.stdout)) {
    console.log(line);
    // The last line that it prints when it is ready.
    if (line.startsWith("run ")) {
      return async () => {
        server.kill("SIGTERM");
        await exited;
      };
    }
  }
  throw new Error("the server did not start");
}

async function run(...args: string[]): Promise<void> {
  show(args);
  const child = spawn(process.execPath, [main, ...args], { env, stdio: ["ignore", "inherit", "inherit"] });
  const [code] = await once(child, "exit");
  if (code !== 0) throw new Error(`dstack-artifacts ${args[0]} ended with ${code}`);
}

function show(args: readonly string[]): void {
  console.log(`$ dstack-artifacts ${args.map(shown).join(" ")}`);
}

function heading(text: string): void {
  console.log(`\n— ${text}`);
}

/** A path as one would type it here. */
function shown(path: string): string {
  return path.startsWith(`${process.cwd()}/`) ? relative(process.cwd(), path) : path;
}
