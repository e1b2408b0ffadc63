import type { Command } from "commander";
import { formatBytes } from "../lib/quantities.ts";
import { command, withClient } from "./command.ts";
import { count } from "./format.ts";
import { parseDuration } from "./values.ts";

interface Flags {
  readonly grace?: string;
  readonly dryRun?: boolean;
}

export function gcCommand(signal: AbortSignal): Command {
  return command("gc", "remove from the store what no run or tag reaches")
    .option("--grace <duration>", "leave what is younger; 0s removes at once, and is safe only while nothing else writes (default: 24h)")
    .option("--dry-run", "change nothing, and tell what would be removed")
    .action(
      withClient<Flags, []>(signal, async ({ client, flags, output }) => {
        const { dryRun } = flags;
        const graceMs = flags.grace === undefined ? undefined : parseDuration("--grace", flags.grace);
        const { scannedObjects, condemnedObjects, condemnedBytes, deletedObjects, deletedBytes } = await client.collectGarbage({
          graceMs,
          dryRun,
          signal,
        });
        const would = dryRun ? "would have " : "";
        output.result(
          {
            scanned: scannedObjects,
            condemned: condemnedObjects,
            condemned_bytes: condemnedBytes,
            deleted: deletedObjects,
            deleted_bytes: deletedBytes,
          },
          `${would}condemned ${count(condemnedObjects, "object")} (${formatBytes(condemnedBytes)}), ` +
            `deleted ${count(deletedObjects, "object")} (${formatBytes(deletedBytes)}), of ${scannedObjects}`,
        );
      }),
    );
}
