/** Writes small files in a thread of its own, while this one goes on with what comes: each costs the system more than all else. */
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { type SmallFiles, writeSmallFiles } from "./small-files.ts";

/** Files after which the start of a thread is worth its 30 ms. */
const FILES_WORTH_A_THREAD = 256;
/** Batches that wait for the thread. What comes beyond is written here, so that both have something to do. */
const MOST_WAITING = 4;

/** What became of files that were to be written. */
export interface Written {
  /** Indexes of those that weren't, for whatever reason. */
  readonly left: readonly number[];
  /** What was given, back. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}
export interface ToThread {
  readonly files: SmallFiles;
  readonly bytes: Uint8Array<ArrayBuffer>;
}
export type FromThread = Written | "ready";

export interface FileWriter {
  /** Writes files now, or in the thread. All of the buffer that has the bytes is the writer's until it gives it back. */
  write(files: SmallFiles, bytes: Uint8Array<ArrayBuffer>): Written | Promise<Written>;
  /** Ends the thread; what it had still to write is left. */
  close(): void;
}

export function createFileWriter(): FileWriter {
  let seen = 0;
  let thread: Thread | undefined;
  return {
    write(files, bytes) {
      seen += files.sizes.length;
      if (seen >= FILES_WORTH_A_THREAD) thread ??= startThread();
      return thread?.write(files, bytes) ?? { left: writeSmallFiles(files, bytes), bytes };
    },
    close: () => thread?.end(),
  };
}

interface Thread {
  /** `undefined`: it can't, not now or not at all. */
  write(files: SmallFiles, bytes: Uint8Array<ArrayBuffer>): Promise<Written> | undefined;
  end(): void;
}

/** A thread that doesn't come about, in a program that was made one file or may start none, is one that can't write. */
function startThread(): Thread {
  const waiting: { readonly resolve: (written: Written) => void; readonly reject: (error: Error) => void }[] = [];
  let isReady = false;
  let worker: Worker;
  try {
    // As this file is, of TypeScript or JavaScript. This process's own flags (`-e`, `--import`) are none of its business.
    worker = new Worker(new URL(`./file-writer-thread${extname(import.meta.url)}`, import.meta.url), { execArgv: [] });
  } catch {
    return { write: () => undefined, end() {} };
  }

  function ended(): void {
    isReady = false;
    for (const { reject } of waiting.splice(0)) reject(new Error("the thread that writes files ended"));
  }
  worker.on("message", (message: FromThread) => {
    if (message === "ready") isReady = true;
    else waiting.shift()?.resolve(message);
    // While there is nothing to wait for, the thread keeps no process alive.
    if (waiting.length === 0) worker.unref();
  });
  worker.on("error", ended).on("exit", ended);
  worker.unref();

  return {
    write(files, bytes) {
      if (!isReady || waiting.length >= MOST_WAITING) return undefined;
      worker.ref();
      worker.postMessage({ files, bytes } satisfies ToThread, [bytes.buffer]);
      return new Promise((resolve, reject) => void waiting.push({ resolve, reject }));
    },
    end: () => void worker.terminate(),
  };
}
