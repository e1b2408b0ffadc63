import { type Command, Option } from "commander";
import type { Logger } from "pino";
import { defaultServerUrl } from "../lib/addresses.ts";
import { nameProblem } from "../lib/names.ts";
import type { RunningServer } from "../server/server.ts";
import { type CommonFlags, command } from "./command.ts";
import { createOutput } from "./output.ts";

interface Flags extends CommonFlags {
  readonly store?: string;
  readonly listen?: readonly string[];
  readonly project?: string;
  readonly run?: string;
  readonly tokenFile?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsClientCa?: string;
  readonly logLevel?: string;
}

const collect = (value: string, before: readonly string[] = []): string[] => [...before, value];

export function serveCommand(signal: AbortSignal, version: string): Command {
  return command("serve", "run a server in front of a store, until SIGTERM or Ctrl-C")
    .option("--store <url>", "a folder, file:, memory:, s3:, az: or gs: (default: $DSTACK_ARTIFACTS_STORE, else ~/.dstack/artifacts/store)")
    .option("--listen <url>", "where to listen; may be given several times (default: as --url)", collect)
    .option("--project <project>", "the project of calls that name none (default: $DSTACK_PROJECT, else main)")
    .option("--run <run>", "the current run (default: $DSTACK_RUN_NAME, then $RUN_NAME, else a generated name)")
    .option("--token-file <file>", "who may call, a line each: TOKEN [read|write|admin] [PROJECT] (default: $DSTACK_ARTIFACTS_TOKEN)")
    .option("--tls-cert <file>", "the certificate for https, in PEM")
    .option("--tls-key <file>", "its key, in PEM")
    .option("--tls-client-ca <file>", "clients must show a certificate of this authority, in PEM")
    .addOption(
      new Option("--log-level <level>", "of the log on stderr (default: info; warn with --quiet)").choices([
        "error",
        "warn",
        "info",
        "debug",
      ]),
    )
    .action(async (_flags: unknown, self: Command) => serve(self.optsWithGlobals() as Flags, version, signal));
}

async function serve(flags: Flags, version: string, signal: AbortSignal): Promise<void> {
  const { env } = process;
  const project = checked("project", flags.project ?? (env["DSTACK_PROJECT"] || "main"));
  const named = flags.run ?? (env["DSTACK_RUN_NAME"] || env["RUN_NAME"] || undefined);
  if (named !== undefined) checked("run", named);
  const listen = flags.listen ?? [flags.url ?? (env["DSTACK_ARTIFACTS_URL"] || defaultServerUrl(env))];
  const tls = tlsOf(flags);

  // Only here: other commands start faster without a server.
  const [{ defaultStoreUrl, openArtifacts }, { createLogger }, { createMetrics }, { startServer }, { loadTokens }] = await Promise.all([
    import("../compose.ts"),
    import("../server/logger.ts"),
    import("../server/metrics.ts"),
    import("../server/server.ts"),
    import("../server/tokens.ts"),
  ]);
  const output = createOutput(flags);
  const tokens = await loadTokens(flags.tokenFile, env, output.warn);
  const logger = createLogger(flags.logLevel ?? (flags.quiet ? "warn" : "info"));
  const metrics = createMetrics();
  const { artifacts, storeKind } = await openArtifacts(flags.store ?? defaultStoreUrl(env), {
    writer: `dstack-artifacts ${version}`,
    onStoreCall: metrics.storeObserver,
    onBackgroundError: (error) => logger.warn({ err: error }, "work in the background failed"),
  });
  try {
    const run = named ?? (await artifacts.claimRun(project));
    const server = await startServer({ artifacts, storeKind, version, project, run, listen, tokens, tls, logger, metrics });
    if (flags.tokenFile !== undefined) onHangup(() => replaceTokens(server, flags.tokenFile, logger));
    const { addresses } = server;
    const lines = [...addresses.map((address) => `listening on ${address}`), `run ${run}`];
    output.result({ addresses, run }, lines.join("\n"));
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    await server.close();
  } finally {
    await artifacts.close();
    await metrics.close();
  }
}

/** Runs `task` at each SIGHUP, one after the other, so that what was read last counts. */
function onHangup(task: () => Promise<void>): void {
  let last = Promise.resolve();
  process.on("SIGHUP", () => {
    last = last.then(task);
  });
}

async function replaceTokens(server: RunningServer, tokenFile: string | undefined, logger: Logger): Promise<void> {
  const { loadTokens } = await import("../server/tokens.ts");
  try {
    const tokens = await loadTokens(tokenFile, {}, (message) => logger.warn(message));
    server.replaceTokens(tokens);
    logger.info({ tokenFile, tokens: tokens.length }, "the token file was read again: requests from now on need one of its tokens");
  } catch (error) {
    logger.error({ err: error }, "the token file can't be used: going on with the old tokens");
  }
}

function checked(kind: string, name: string): string {
  const problem = nameProblem(name);
  if (problem !== undefined) throw new Error(`${kind} ${JSON.stringify(name)}: a name ${problem}`);
  return name;
}

function tlsOf({ tlsCert, tlsKey, tlsClientCa }: Flags) {
  if (tlsCert === undefined && tlsKey === undefined && tlsClientCa === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined)
    throw new Error("TLS needs a certificate and its key: give both --tls-cert and --tls-key");
  return { certFile: tlsCert, keyFile: tlsKey, clientCaFile: tlsClientCa };
}
