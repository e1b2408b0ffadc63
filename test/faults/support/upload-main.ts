/**
 * Uploads a file, or goes on with its upload, until it is done or killed. Prints the commit's number.
 *
 * Usage: upload-main.ts URL FILE RUN UPLOAD_ID
 */
import { createClient } from "../../../src/client/client.ts";

/** A killed server's successor takes its time on a busy machine. */
const TIMEOUT_MS = 180_000;

const [url = "", file = "", run = "", uploadId = ""] = process.argv.slice(2);
const client = createClient({ url, env: {}, timeoutMs: TIMEOUT_MS });
const { commit } = await client.upload({ localPath: file, artifactPath: "file", run, uploadId });
await client.close();
process.stdout.write(`commit ${commit}\n`);
