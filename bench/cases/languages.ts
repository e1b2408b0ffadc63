/**
 * The Python and Go clients, and bare streams of the same gRPC library, at a grpc-go server that discards and makes up bytes, at our server's
 * wire, and at our server in front of a store in memory.
 */
import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { toolPath } from "../../test/servers/process.ts";
import { NO_USAGE, transfers } from "../contenders/ours.ts";
import { type Contender, type Figure, measure, sample } from "../measure.ts";
import { runCommand, startProgram, startWorker, usageOf } from "../processes.ts";
import type { Settings } from "../settings.ts";
import { type TreeTask, treeTasks } from "../trees.ts";
import type { Usage } from "../worker.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** How the roles of a language are run: their first arguments are `client` or `bare`, and `upload` or `download`. */
interface Language {
  readonly name: string;
  /** Of its gRPC library. */
  readonly library: string;
  command(role: "client" | "bare"): readonly [string, ...string[]];
  readonly env: NodeJS.ProcessEnv;
}

export async function languages(settings: Settings): Promise<Figure[]> {
  const { folder } = settings;
  const goProgram = join(folder, "bench-go");
  execFileSync("go", ["build", "-o", goProgram, "./bench/roles/go"], { cwd: ROOT });
  const go: Language = { name: "Go", library: "grpc-go", command: (role) => [goProgram, role], env: {} };
  const python: Language = {
    name: "Python",
    library: "grpcio",
    command: (role) => [toolPath("python-client/bin/python"), join(ROOT, `bench/roles/python_${role}.py`)],
    env: { PYTHONPATH: [join(ROOT, "clients/python"), join(ROOT, "gen/python")].join(":") },
  };
  return [...(await race(python, goProgram, settings)), ...(await race(go, goProgram, settings))];
}

async function race(language: Language, goProgram: string, settings: Settings): Promise<Figure[]> {
  const { memoryFolder: folder, largeBytes, rounds, progress } = settings;
  const { name, library } = language;
  const tree = { files: 1, bytes: largeBytes };
  const contenders: Contender[] = [
    await atDiscarding(`${library} alone, to a server that discards`, language, "bare", goProgram, settings),
    await atWire(`${library} alone, to ours`, language),
    await atDiscarding(`${name} client, to a server that discards`, language, "client", goProgram, settings),
    await atServer(`${name} client, to ours in memory`, language, settings),
  ];
  const source = join(folder, "trees");
  try {
    return await measure(name.toLowerCase(), contenders, treeTasks(source, tree), rounds, 1, progress);
  } finally {
    for (const contender of contenders) await contender.close();
    await rm(source, { recursive: true });
  }
}

async function run(language: Language, role: "client" | "bare", args: readonly string[], url: string, bytes: number) {
  const [program, ...first] = language.command(role);
  const { stdout } = await runCommand(program, [...first, ...args], { ...language.env, DSTACK_ARTIFACTS_URL: url });
  const said = JSON.parse(stdout) as { bytes: number; seconds: number; cpuSeconds: number; peakRssBytes: number };
  if (said.bytes !== bytes) throw new Error(`${language.name}: ${said.bytes} bytes of ${bytes} arrived`);
  const usage: Usage = { cpuSeconds: said.cpuSeconds, peakBytes: said.peakRssBytes };
  return { seconds: said.seconds, client: [NO_USAGE, usage] as const };
}

/** The file of a tree, which has only one. */
const fileOf = ({ source }: TreeTask): string => join(source, "folder-0", "file-0.bin");

async function atDiscarding(
  name: string,
  language: Language,
  role: "client" | "bare",
  goProgram: string,
  { memoryFolder: folder, largeBytes }: Settings,
): Promise<Contender> {
  const server = await startProgram(goProgram, ["server", String(largeBytes)], { stopBy: "end of input" });
  const url = server.printed.trim();
  return {
    name,
    async measure(task) {
      const target = await mkdtemp(join(folder, "down-"));
      const up = role === "bare" ? ["upload", String(task.bytes)] : ["upload", fileOf(task as TreeTask), "bench"];
      const down = role === "bare" ? ["download", "bench", "f"] : ["download", "bench", join(target, "f")];
      const before = await usageOf(server.pid);
      const { seconds, client } = await run(language, role, task.direction === "up" ? up : down, url, task.bytes);
      const taken = sample(seconds, client, [before, await usageOf(server.pid)]);
      await rm(target, { recursive: true });
      return taken;
    },
    close: () => server.stop(),
  };
}

async function atWire(name: string, language: Language): Promise<Contender> {
  const server = await startWorker("null-server");
  return {
    name,
    async measure({ direction, bytes, chunkBytes }) {
      const args = direction === "up" ? ["upload", String(bytes)] : ["download", "bench", `1x${bytes}x${chunkBytes}`];
      const before = await server.usage();
      const { seconds, client } = await run(language, "bare", args, server.url, bytes);
      return sample(seconds, client, [before, await server.usage()]);
    },
    close: () => server.close(),
  };
}

async function atServer(name: string, language: Language, { memoryFolder: folder, profile }: Settings): Promise<Contender> {
  const server = await startWorker("server", { store: "memory:" }, { profile });
  return transfers(name, folder, server.url, {
    transfer: (task, to, target) =>
      run(
        language,
        "client",
        task.direction === "up" ? ["upload", fileOf(task), to] : ["download", to, join(target, "f")],
        server.url,
        task.bytes,
      ),
    serverUsage: () => server.usage(),
    close: () => server.close(),
  });
}
