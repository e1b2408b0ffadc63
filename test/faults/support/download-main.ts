/** A client in a process of its own: `download-main.ts URL RUN FOLDER`. */
import { createClient } from "../../../src/client/client.ts";

const [url, run, localPath] = process.argv.slice(2) as [string, string, string];
const client = createClient({ url, env: {} });
await client.download({ run, localPath });
await client.close();
