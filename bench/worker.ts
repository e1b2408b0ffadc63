/**
 * One process of a benchmark: `worker.ts ROLE JSON` becomes the server or client that the role names, does what its parent asks over IPC, and
 * tells what that cost it.
 */

/** A server or client of `roles/`. */
export interface Role {
  /** Where a server listens; to be given to clients. */
  readonly url?: string;
  /** Does a client's work. */
  run?(task: Task): Promise<void>;
  close(): Promise<void>;
}

export interface Task {
  /** Undefined: to get ready for what comes. */
  readonly direction: "up" | "down" | undefined;
  readonly files: number;
  /** Of each file. */
  readonly bytes: number;
  /** Bytes of a message or write. */
  readonly chunkBytes: number;
  /** What the role needs besides: folders, names. */
  readonly [extra: string]: unknown;
}

/** What a process has cost since it started. */
export interface Usage {
  readonly cpuSeconds: number;
  /** The most memory that it had, in bytes. */
  readonly peakBytes: number;
}

export type Request = { readonly type: "run"; readonly task: Task } | { readonly type: "usage" } | { readonly type: "close" };
export type Answer =
  | { readonly type: "ready"; readonly url?: string }
  | { readonly type: "done"; readonly seconds: number; readonly usage: Usage }
  | { readonly type: "usage"; readonly usage: Usage }
  | { readonly type: "failed"; readonly message: string };

function usage(): Usage {
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
  return { cpuSeconds: (userCPUTime + systemCPUTime) / 1e6, peakBytes: maxRSS * 1024 };
}

function answer(message: Answer): void {
  process.send?.(message);
}

if (import.meta.main && process.send !== undefined) {
  const [name, options] = process.argv.slice(2) as [string, string];
  const { start } = (await import(`./roles/${name}.ts`)) as { start: (options: Record<string, unknown>) => Promise<Role> };
  const role = await start(JSON.parse(options));
  process.on("message", async (request: Request) => {
    try {
      if (request.type === "run") {
        const before = performance.now();
        await role.run?.(request.task);
        answer({ type: "done", seconds: (performance.now() - before) / 1000, usage: usage() });
      } else if (request.type === "usage") {
        answer({ type: "usage", usage: usage() });
      } else {
        await role.close();
        process.disconnect();
      }
    } catch (error) {
      answer({ type: "failed", message: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    }
  });
  answer({ type: "ready", ...(role.url === undefined ? {} : { url: role.url }) });
}
