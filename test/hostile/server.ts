/** A server in a process of its own, so that its memory can be measured: `node server.ts STORE_URL`, with a token for tests. */
import { openArtifacts } from "../../src/compose.ts";
import { createLogger } from "../../src/server/logger.ts";
import { startServer } from "../../src/server/server.ts";
import { parseTokens } from "../../src/server/tokens.ts";
import { TOKEN } from "../server/support.ts";

const { artifacts, storeKind } = await openArtifacts(process.argv[2] ?? "memory:");
const server = await startServer({
  artifacts,
  storeKind,
  version: "0.0.0-test",
  project: "main",
  run: "current",
  listen: ["http://127.0.0.1:0"],
  tokens: parseTokens(TOKEN, "test"),
  logger: createLogger("error"),
  graceMs: 0,
});
console.log(server.addresses[0]);
process.once("SIGTERM", async () => {
  await server.close();
  await artifacts.close();
});
