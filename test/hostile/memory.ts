/** What a server's process takes while something is done to it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { fileURLToPath } from "node:url";
import { clientOf, TOKEN, withFolder, withSession } from "../server/support.ts";
import { NODE_FLAGS } from "../support/node-flags.ts";

/** The runs that take minutes, with the numbers that the project promises. */
export const LONG = process.env["DSTACK_ARTIFACTS_HOSTILE"] === "long";
export const MIB = 1024 * 1024;

export interface MeasuredServer {
  readonly url: string;
  /** Resident memory now, in bytes. */
  memory(): Promise<number>;
  /** The most resident memory while `act` runs, in bytes. */
  peakDuring(act: () => Promise<unknown>): Promise<number>;
}

/** A server on a folder of its own, in a process with the flags of the bin. */
export async function withServer<T>(use: (server: MeasuredServer) => Promise<T>): Promise<T> {
  return withFolder(async (folder) => {
    const script = fileURLToPath(new URL("server.ts", import.meta.url));
    const child = spawn(process.execPath, [...NODE_FLAGS, script, folder], { stdio: ["ignore", "pipe", "inherit"] });
    const exited = once(child, "exit");
    try {
      const [line] = await Promise.race([
        once(child.stdout, "data"),
        exited.then(([code]) => Promise.reject(new Error(`it ended with ${code}`))),
      ]);
      const url = String(line).trim();
      return await use({ url, memory: () => memoryOf(url), peakDuring: (act) => peakDuring(url, act) });
    } finally {
      child.kill("SIGTERM");
      await exited;
    }
  });
}

/** As the server itself says it, and proof that it still serves others. */
async function memoryOf(url: string): Promise<number> {
  const text = await withSession(url, async (session) => {
    const stream = session.request({ ":path": "/metrics", authorization: `Bearer ${TOKEN}` });
    let text = "";
    stream.on("data", (part) => (text += part));
    stream.end();
    await once(stream, "close");
    return text;
  });
  const found = /resident_memory_bytes (\d+)/.exec(text)?.[1];
  if (found === undefined) throw new Error("the server doesn't answer");
  return Number(found);
}

async function peakDuring(url: string, act: () => Promise<unknown>): Promise<number> {
  let peak = await memoryOf(url);
  let done = false;
  const watching = (async () => {
    while (!done) {
      peak = Math.max(peak, await memoryOf(url));
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  })();
  try {
    await act();
  } finally {
    done = true;
    await watching;
  }
  return Math.max(peak, await memoryOf(url));
}

/** Other calls, made while something goes on: each must be answered. */
export async function othersAreServed(url: string): Promise<void> {
  const client = clientOf(url);
  for (let i = 0; i < 5; i++) await client.listRuns({});
}

/** Connections that do nothing but stay. */
export async function idleConnections(url: string, count: number): Promise<{ close(): void }> {
  const sessions: ClientHttp2Session[] = [];
  for (let i = 0; i < count; i++) {
    const session = connectHttp2(url);
    session.on("error", () => {});
    sessions.push(session);
    if (i % 100 === 99) await once(session, "remoteSettings");
  }
  return {
    close() {
      for (const session of sessions) session.destroy();
    },
  };
}
