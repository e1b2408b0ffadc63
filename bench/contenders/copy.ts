/** `cp -r`, and what makes it durable as an upload is: an fsync of every file and folder. */
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Contender } from "../measure.ts";
import { runCommand } from "../processes.ts";
import { discard, type TreeTask } from "../trees.ts";

/** Up: from the tree to `store`, durably. Down: from there to `folder`, as downloads are, without fsync. */
export function copy(store: string, folder: string): Contender {
  const stored = new Map<string, string>();
  return {
    name: "cp -r (up: and fsync)",
    async measure(task) {
      const { source, direction } = task as TreeTask;
      const up = direction === "up";
      const from = up ? source : (stored.get(source) ?? "");
      const to = await mkdtemp(join(up ? store : folder, "cp-"));
      const { seconds, usage } = await runCommand("bash", ["-c", up ? `${COPY} && ${FSYNC}` : COPY, "bash", from, to]);
      const before = stored.get(source);
      if (!up) await discard(to, task as TreeTask);
      else stored.set(source, to);
      if (up && before !== undefined) await discard(before, task as TreeTask);
      return { seconds, clientCpu: usage.cpuSeconds, serverCpu: Number.NaN, clientPeak: usage.peakBytes, serverPeak: Number.NaN };
    },
    async close() {
      for (const path of stored.values()) await rm(path, { recursive: true });
    },
  };
}

const COPY = 'cp -r "$1/." "$2"';
const FSYNC = 'find "$2" -print0 | xargs -0 sync';
