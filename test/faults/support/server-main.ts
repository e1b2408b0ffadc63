/**
 * A server that kills itself, as SIGKILL does, before or after its n-th call to the system that changes the store. Prints `ready` when it
 * listens, and when it is told to end, how many such calls it made.
 *
 * Usage: server-main.ts ROOT SOCKET [N before|after]
 */
import { intercept } from "./syscalls.ts";

const [root = "", socket = "", at = "0", when = "before"] = process.argv.slice(2);
const fatal = Number(at);
let calls = 0;

function die(): Promise<never> {
  process.kill(process.pid, "SIGKILL");
  return new Promise(() => {});
}

intercept(async (call, run) => {
  if (!call.changes) return run();
  const mine = ++calls === fatal;
  if (mine && when === "before") return die();
  if (mine && when === "during") {
    // It has begun, in a thread of its own, and may or may not come to its end.
    void run();
    return die();
  }
  const result = await run();
  return mine ? die() : result;
});

const { openFolder } = await import("./store.ts");
const { serve } = await import("./server.ts");
const artifacts = await openFolder(root);
const server = await serve(artifacts, socket);
process.stdin.once("data", async () => {
  await server.close();
  await artifacts.close();
  process.stdout.write(`${calls} calls\n`, () => process.exit(0));
});
process.stdout.write("ready\n");
