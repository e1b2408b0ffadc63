/** Starts real servers for tests, each on a free loopback port, and stops them. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { pathOf, type ServerName } from "./programs.ts";

export { toolPath } from "./programs.ts";

/** LocalStack needs seconds, on a busy machine more. */
const START_DEADLINE_MS = 90_000;
const POLL_MS = 50;
/** What is kept of a server's output, to be told when it fails. */
const KEPT_OUTPUT = 4000;

export interface RunningServer {
  /** `http://127.0.0.1:PORT`. */
  readonly url: string;
  readonly process: ChildProcess;
  stop(): Promise<void>;
}

export interface ServerSpec {
  readonly name: ServerName;
  readonly args: (port: number, folder: string) => readonly string[];
  readonly env?: (port: number) => NodeJS.ProcessEnv;
  readonly healthPath: string;
  /** What it answers with when the server works; 200 by default. */
  readonly healthStatus?: number;
  /** What the answer must hold besides. */
  readonly healthText?: string;
}

export async function startServer(spec: ServerSpec): Promise<RunningServer> {
  const port = await freePort();
  const folder = fs.mkdtempSync(join(os.tmpdir(), `dstack-artifacts-${spec.name}-`));
  const child = spawn(pathOf(spec.name), spec.args(port, folder), {
    stdio: ["ignore", "pipe", "pipe"],
    cwd: folder,
    env: { ...process.env, ...spec.env?.(port) },
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output = (output + text).slice(-KEPT_OUTPUT);
    });
  }
  const killWithUs = () => child.kill("SIGKILL");
  process.once("exit", killWithUs);
  const stop = async (): Promise<void> => {
    process.off("exit", killWithUs);
    if (child.exitCode === null && child.signalCode === null) {
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
    }
    fs.rmSync(folder, { recursive: true, force: true });
  };
  const url = `http://127.0.0.1:${port}`;
  const deadline = Date.now() + START_DEADLINE_MS;
  while (!(await answers(url, spec))) {
    if (child.exitCode !== null || Date.now() > deadline) {
      await stop();
      throw new Error(`${spec.name} didn't start: ${output}`);
    }
    await wait(POLL_MS);
  }
  return { url, process: child, stop };
}

async function answers(url: string, { healthPath, healthStatus = 200, healthText = "" }: ServerSpec): Promise<boolean> {
  try {
    const response = await fetch(url + healthPath, { signal: AbortSignal.timeout(2000) });
    return response.status === healthStatus && (await response.text()).includes(healthText);
  } catch {
    return false;
  }
}

export async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
