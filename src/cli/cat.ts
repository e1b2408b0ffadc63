import type { Command } from "commander";
import { command, withClient } from "./command.ts";
import type { Output } from "./output.ts";
import { parseReference } from "./reference.ts";
import { parseByteRange } from "./values.ts";

interface Flags {
  readonly range?: string;
}

export function catCommand(signal: AbortSignal): Command {
  return command("cat", "write one file, or part of it, to stdout")
    .argument("<REF>", "RUN, RUN@COMMIT or :TAG")
    .argument("<PATH>", "the file")
    .option("--range <A-B>", "bytes A to B, both included, from 0; A- to the end")
    .option("--timeout <duration>", "how long to try again without progress when the connection is lost (default: 30s)")
    .action(
      withClient<Flags, [string, string]>(signal, async ({ client, flags, output }, reference, artifactPath) => {
        const range = flags.range === undefined ? undefined : parseByteRange(flags.range);
        const bytes = client.read({ ...parseReference(reference), artifactPath, range, signal });
        if (flags.json) await writeJson(output, artifactPath, bytes);
        else for await (const part of bytes) await output.write(part);
      }),
    );
}

/** `{"path", "bytes", "base64"}`, written as it comes. */
async function writeJson(output: Output, path: string, parts: AsyncIterable<Uint8Array>): Promise<void> {
  let bytes = 0;
  let rest: Uint8Array = new Uint8Array();
  await output.write(`{"path":${JSON.stringify(path)},"base64":"`);
  for await (const part of parts) {
    bytes += part.length;
    const joined = Buffer.concat([rest, part]);
    // Base64 takes three bytes at a time.
    const whole = joined.length - (joined.length % 3);
    rest = joined.subarray(whole);
    await output.write(joined.toString("base64", 0, whole));
  }
  await output.write(`${Buffer.from(rest).toString("base64")}","bytes":${bytes}}\n`);
}
