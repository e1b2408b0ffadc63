/** Serves a folder's artifacts on a Unix socket, in this process. */
import { Writable } from "node:stream";
import type { Artifacts } from "../../../src/artifacts/types.ts";
import { createLogger } from "../../../src/server/logger.ts";
import { type RunningServer, startServer } from "../../../src/server/server.ts";

export function serve(artifacts: Artifacts, socket: string): Promise<RunningServer> {
  return startServer({
    artifacts,
    storeKind: "file",
    version: "0.0.0-test",
    project: "main",
    run: "current-run-1",
    listen: [`unix://${socket}`],
    logger: createLogger("error", new Writable({ write: (_line, _encoding, done) => done() })),
    graceMs: 0,
  });
}
