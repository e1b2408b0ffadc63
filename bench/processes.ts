/** Starts the processes of a benchmark, sends them tasks and collects what they cost. */
import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { NODE_FLAGS as BIN_FLAGS } from "../test/support/node-flags.ts";
import type { Answer, Request, Task, Usage } from "./worker.ts";

/** What the package's bin sets for itself in its first line; our processes run with it, others' as they come. */
export const NODE_FLAGS: readonly string[] = process.env["BENCH_NODE_FLAGS"]?.split(" ").filter((flag) => flag !== "") ?? BIN_FLAGS;
/** Ticks of /proc/PID/stat in a second, on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

export interface Worker {
  readonly url: string;
  run(task: Task): Promise<{ seconds: number; usage: Usage }>;
  usage(): Promise<Usage>;
  close(): Promise<void>;
}

export interface WorkerOptions {
  /** A folder to leave a CPU profile in. */
  readonly profile?: string | undefined;
  readonly env?: NodeJS.ProcessEnv;
  /** Node's own; the bin's by default. */
  readonly flags?: readonly string[];
}

/** Starts `worker.ts` in a role. */
export async function startWorker(
  role: string,
  options: Record<string, unknown> = {},
  { profile, env, flags = NODE_FLAGS }: WorkerOptions = {},
): Promise<Worker> {
  const execArgv = [
    ...flags,
    ...(profile === undefined
      ? []
      : ["--cpu-prof", `--cpu-prof-dir=${profile}`, `--cpu-prof-name=${role}.${process.hrtime.bigint()}.cpuprofile`]),
  ];
  const child = fork(new URL("./worker.ts", import.meta.url), [role, JSON.stringify(options)], {
    execArgv,
    env: { ...process.env, ...env },
  });
  const ready = await next(child, role);
  const ask = async (request: Request): Promise<Answer> => {
    const answered = next(child, role);
    child.send(request);
    return answered;
  };
  return {
    url: ready.type === "ready" ? (ready.url ?? "") : "",
    async run(task) {
      const done = await ask({ type: "run", task });
      if (done.type !== "done") throw new Error(`${role}: ${JSON.stringify(done)}`);
      return done;
    },
    async usage() {
      const said = await ask({ type: "usage" });
      if (said.type !== "usage") throw new Error(`${role}: ${JSON.stringify(said)}`);
      return said.usage;
    },
    close() {
      return new Promise((resolve) => {
        child.once("exit", () => resolve());
        child.send({ type: "close" } satisfies Request);
      });
    },
  };
}

function next(child: ChildProcess, role: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const onMessage = (message: unknown) => {
      child.off("exit", onExit);
      const answered = message as Answer;
      if (answered.type === "failed") reject(new Error(`${role}: ${answered.message}`));
      else resolve(answered);
    };
    const onExit = (code: number | null) => {
      child.off("message", onMessage);
      reject(new Error(`${role} ended with ${code}`));
    };
    child.once("message", onMessage).once("exit", onExit);
  });
}

/** Starts a server of any program, and gives what it printed once it has printed something. */
export async function startProgram(
  command: string,
  args: readonly string[],
  { env, stopBy = "signal" }: { env?: NodeJS.ProcessEnv; stopBy?: "signal" | "end of input" } = {},
): Promise<{ pid: number; printed: string; stop(): Promise<void> }> {
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ["pipe", "pipe", "inherit"] });
  const exited = once(child, "exit");
  const ended = exited.then(([code]) => Promise.reject(new Error(`${command} ${args.join(" ")} ended with ${code}`)));
  ended.catch(() => {});
  const [first] = await Promise.race([once(child.stdout, "data"), ended]);
  child.stdout.resume();
  return {
    pid: child.pid as number,
    printed: String(first),
    async stop() {
      if (stopBy === "signal") child.kill("SIGTERM");
      else child.stdin.end();
      await exited;
    },
  };
}

/** Runs a command to its end; CPU by the shell's `time`, which counts children. */
export async function runCommand(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<{ seconds: number; usage: Usage; stdout: string }> {
  return new Promise((resolve, reject) => {
    const before = performance.now();
    const shell = spawn("bash", ["-c", 'TIMEFORMAT="%U %S"; exec 3>&2; time "$@" 2>&3', "bash", command, ...args], {
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let stdout = "";
    let stderr = "";
    shell.stdout.on("data", (bytes) => void (stdout += bytes));
    shell.stderr.on("data", (bytes) => void (stderr += bytes));
    let peakBytes = 0;
    const watching = setInterval(
      () => void peakOfTree(shell.pid as number).then((bytes) => void (peakBytes = Math.max(peakBytes, bytes))),
      50,
    );
    shell.once("error", reject);
    shell.once("close", (code) => {
      clearInterval(watching);
      if (code !== 0) return reject(new Error(`${command} ${args.join(" ")} ended with ${code}: ${stderr}`));
      const [user = 0, system = 0] = (stderr.trim().split("\n").at(-1) ?? "").split(" ").map(Number);
      resolve({ seconds: (performance.now() - before) / 1000, usage: { cpuSeconds: user + system, peakBytes }, stdout });
    });
  });
}

/** The peak memory of a process or of its first child, in bytes; 0 where there is no /proc. */
async function peakOfTree(pid: number): Promise<number> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
  const status = await readFile(`/proc/${children.split(" ")[0] || pid}/status`, "utf8").catch(() => "");
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
}

/** What a process of any program has cost since it started; zeros where there is no /proc. */
export async function usageOf(pid: number): Promise<Usage> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return {
    cpuSeconds: (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / TICKS_PER_SECOND,
    peakBytes: Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024,
  };
}
