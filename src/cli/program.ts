/**
 * The command line: one file a command. It may call the client, and `serve` the server; nothing calls it but main.ts.
 *
 * Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 not understood, 130 and 143 ended by Ctrl-C and SIGTERM.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Command, CommanderError } from "commander";
import { describeSystemError } from "../client/errors.ts";
import { catCommand } from "./cat.ts";
import { Failed, withCommonFlags } from "./command.ts";
import { cpCommand } from "./cp.ts";
import { downloadCommand } from "./download.ts";
import { gcCommand } from "./gc.ts";
import { lsCommand } from "./ls.ts";
import { writeError } from "./output.ts";
import { runsCommand } from "./runs.ts";
import { serveCommand } from "./serve.ts";
import { tagsCommand } from "./tags.ts";
import { uploadCommand } from "./upload.ts";
import { uploadsCommand } from "./uploads.ts";
import { verifyCommand } from "./verify.ts";

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;
const EXIT_OF_SIGNALS = { SIGINT: 130, SIGTERM: 143 } as const;
/** What a shell shows of a program that SIGPIPE ended. */
const EXIT_PIPE = 141;

/** Runs one command, and gives the process's exit code. */
export async function runCommandLine(args: readonly string[]): Promise<number> {
  const stop = new AbortController();
  let stoppedBy: keyof typeof EXIT_OF_SIGNALS | undefined;
  const onSignal = (signal: NodeJS.Signals) => {
    const name = signal as keyof typeof EXIT_OF_SIGNALS;
    // Whoever asks twice doesn't want to wait.
    if (stoppedBy !== undefined) process.exit(EXIT_OF_SIGNALS[name]);
    stoppedBy = name;
    stop.abort(new Error(`ended by ${name}`));
  };
  for (const name of Object.keys(EXIT_OF_SIGNALS)) process.on(name, onSignal);
  // `ls | head` closes the pipe; that is no failure to tell of.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(EXIT_PIPE);
    writeError(`stdout: ${error.message}`);
    process.exit(EXIT_FAILED);
  });
  try {
    await createProgram(stop.signal).parseAsync(args, { from: "user" });
    // A server that was asked to stop by SIGTERM has done as it was told.
    return stoppedBy === "SIGINT" ? EXIT_OF_SIGNALS.SIGINT : 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
    if (stoppedBy !== undefined) return EXIT_OF_SIGNALS[stoppedBy];
    if (!(error instanceof Failed)) writeError(messageOf(error));
    return EXIT_FAILED;
  } finally {
    for (const name of Object.keys(EXIT_OF_SIGNALS)) process.off(name, onSignal);
  }
}

function createProgram(signal: AbortSignal): Command {
  const program = new Command("dstack-artifacts")
    .description("Keeps what machine learning runs make, on your own storage, and finds it again by run or tag.")
    .version(packageVersion(), "--version", "print the version")
    .helpOption("--help", "print help")
    .configureHelp({ showGlobalOptions: true })
    .addHelpText("after", "\nREF is RUN, RUN@COMMIT or :TAG. Start a server with `dstack-artifacts serve`.");
  const commands = [
    serveCommand(signal, packageVersion()),
    uploadCommand(signal),
    downloadCommand(signal),
    lsCommand(signal),
    runsCommand(signal),
    tagsCommand(signal),
    catCommand(signal),
    cpCommand(signal),
    verifyCommand(signal),
    uploadsCommand(signal),
    gcCommand(signal),
  ];
  withCommonFlags(program);
  for (const each of commands) program.addCommand(each);
  settle(program);
  return program;
}

/** Gives every command, of whatever depth, what all have. */
function settle(each: Command): void {
  each.exitOverride();
  each.helpOption("--help", "print help").helpCommand(false);
  if (each.parent !== null && each.commands.length === 0) {
    withCommonFlags(each);
    each.version(packageVersion(), "--version", "print the version");
  }
  each.showSuggestionAfterError(false);
  each.configureOutput({ outputError: (text) => writeError(text.replace(/^error: /, "").trim()) });
  for (const child of each.commands) settle(child);
}

function packageVersion(): string {
  const file = fileURLToPath(import.meta.resolve("dstack-artifacts/package.json"));
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return describeSystemError(error as NodeJS.ErrnoException);
}
