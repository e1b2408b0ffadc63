/** Where a server is when nobody says. */
import { homedir } from "node:os";
import { join } from "node:path";

/** The URL of the default socket: in the user's run-time folder if the system has one, else in the home folder. */
export function defaultServerUrl(env: NodeJS.ProcessEnv): string {
  const runtime = env["XDG_RUNTIME_DIR"];
  const folder = runtime ? join(runtime, "dstack-artifacts") : join(homedir(), ".dstack", "artifacts");
  return `unix://${join(folder, "server.sock")}`;
}
