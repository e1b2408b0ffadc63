/** What all commands have in common: their flags, a client, and how they end. */
import { Command } from "commander";
import { type ArtifactsClient, createClient } from "../client/client.ts";
import { createOutput, type Output } from "./output.ts";
import { parseDuration } from "./values.ts";

export interface CommonFlags {
  readonly url?: string;
  readonly timeout?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** What a command works with. */
export interface Doing<Flags> {
  readonly client: ArtifactsClient;
  readonly flags: Flags & CommonFlags;
  readonly output: Output;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
}

/** Set by a command that has told of its failure itself. */
export class Failed extends Error {}

/** A command with the flags that are everywhere. */
export function command(usage: string, description: string): Command {
  return new Command(usage).description(description);
}

export function withCommonFlags(each: Command): Command {
  return each
    .option(
      "--url <url>",
      "the server: unix:///path, http://host:port or https://host:port (default: $DSTACK_ARTIFACTS_URL, else the default socket)",
    )
    .option("--json", "print the result as one JSON value")
    .option("--quiet", "no progress and no notes on stderr");
}

/** Makes a commander action of a function that uses a client; the arguments of the command line come after what it works with. */
export function withClient<Flags, Args extends readonly (string | undefined)[]>(
  signal: AbortSignal,
  act: (doing: Doing<Flags>, ...args: Args) => Promise<void>,
): (...given: unknown[]) => Promise<void> {
  return async (...given) => {
    const self = given.at(-1) as Command;
    const flags = self.optsWithGlobals() as Flags & CommonFlags;
    const args = given.slice(0, -2) as unknown as Args;
    const client = createClient({
      url: flags.url,
      // Commands have their own, of which `--quiet` decides.
      progress: false,
      timeoutMs: flags.timeout === undefined ? undefined : parseDuration("--timeout", flags.timeout),
    });
    try {
      await act({ client, flags, output: createOutput(flags), signal }, ...args);
    } finally {
      await client.close();
    }
  };
}
