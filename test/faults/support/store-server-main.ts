/**
 * A server in front of any store, on a Unix socket, until it is killed. Prints `ready` when it listens.
 *
 * Usage: store-server-main.ts STORE_URL SOCKET DATA_OBJECT_BYTES
 */
import { openArtifacts } from "../../../src/compose.ts";
import { serve } from "./server.ts";

const [storeUrl = "", socket = "", dataObjectBytes = ""] = process.argv.slice(2);
const { artifacts } = await openArtifacts(storeUrl, { settings: { dataObjectBytes: Number(dataObjectBytes) } });
await serve(artifacts, socket);
process.stdout.write("ready\n");
