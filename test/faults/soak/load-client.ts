/**
 * One client's load: uploads, downloads and compares until its standard input ends, and tells of each run in a line of JSON.
 *
 * Usage: load-client.ts URL NAME
 */
import { randomBytes, randomInt } from "node:crypto";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "../../../src/client/client.ts";
import { DstackError } from "../../../src/client/errors.ts";

const SIZES = [0, 1, 700, 4_096, 70_000, 300_000, 3_000_000];
const KEPT_RUNS = 5;

const [url = "", name = ""] = process.argv.slice(2);
const client = createClient({ url, env: {}, timeoutMs: 120_000 });
const folder = fs.mkdtempSync(join(tmpdir(), "soak-"));
const kept: string[] = [];
let stopped = false;
process.stdin.on("end", () => {
  stopped = true;
});
process.stdin.resume();

function tell(what: Record<string, unknown>): void {
  process.stdout.write(`${JSON.stringify(what)}\n`);
}

async function round(run: string): Promise<void> {
  const [source, target] = [join(folder, "source"), join(folder, "target")];
  for (const path of [source, target]) fs.rmSync(path, { recursive: true, force: true });
  fs.mkdirSync(source);
  const contents = Array.from({ length: randomInt(3, 21) }, () => randomBytes(SIZES[randomInt(SIZES.length)] as number));
  for (const [i, bytes] of contents.entries()) fs.writeFileSync(join(source, `file ${i}`), bytes);
  const { files } = await client.upload({ localPath: source, artifactPath: "", run });
  tell({ acknowledged: run, files });
  kept.push(run);
  await client.download({ run, localPath: target });
  for (const [i, bytes] of contents.entries())
    if (!fs.readFileSync(join(target, `file ${i}`)).equals(bytes)) tell({ wrong: `${run}: file ${i}` });
  const oldest = kept.length > KEPT_RUNS ? kept.shift() : undefined;
  if (oldest === undefined) return;
  tell({ deleting: oldest });
  await client.deleteRun(oldest);
}

for (let number = 1; !stopped; number++) {
  try {
    await round(`${name}-${number}`);
  } catch (error) {
    if (!(error instanceof DstackError)) throw error;
    tell({ failed: error.message });
  }
}
await client.close();
fs.rmSync(folder, { recursive: true, force: true });
