/** The thread of file-writer.ts. */
import { parentPort } from "node:worker_threads";
import type { FromThread, ToThread } from "./file-writer.ts";
import { writeSmallFiles } from "./small-files.ts";

const say = (message: FromThread, transfer: ArrayBuffer[] = []): void => parentPort?.postMessage(message, transfer);

parentPort?.on("message", ({ files, bytes }: ToThread) => {
  const left = writeSmallFiles(files, bytes);
  say({ left, bytes }, [bytes.buffer]);
});
say("ready");
