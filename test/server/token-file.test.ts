/** A token file that changes while a server runs, which reads it again when it is told to by SIGHUP. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface, type Interface } from "node:readline";

const MAIN = resolve(import.meta.dirname, "../../src/main.ts");

describe("a token file that changes", () => {
  let folder: string;
  let file: string;
  let server: ChildProcess;
  let log: Interface;
  let url: string;

  beforeEach(async () => {
    folder = fs.mkdtempSync(join(tmpdir(), "dstack-tokens-"));
    file = join(folder, "tokens");
    fs.writeFileSync(file, "token-1\n", { mode: 0o600 });
    const args = [MAIN, "serve", "--store", "memory:", "--listen", "http://127.0.0.1:0", "--token-file", file, "--json"];
    server = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
    log = createInterface({ input: server.stderr as NodeJS.ReadableStream });
    const [line] = await once(createInterface({ input: server.stdout as NodeJS.ReadableStream }), "line");
    url = (JSON.parse(line as string) as { addresses: string[] }).addresses[0] as string;
  });
  afterEach(async () => {
    const ended = once(server, "exit");
    server.kill("SIGTERM");
    assert.deepEqual(await ended, [0, null]);
    fs.rmSync(folder, { recursive: true });
  });

  /** Replaces the file and gives the line that the server logs of it. */
  async function replace(text: string): Promise<Record<string, unknown>> {
    fs.writeFileSync(file, text);
    server.kill("SIGHUP");
    for (;;) {
      const [line] = await once(log, "line");
      if (/token file/.test(line as string)) return JSON.parse(line as string) as Record<string, unknown>;
    }
  }
  const statusFor = async (token: string) => (await fetch(`${url}/healthz`, { headers: { authorization: `Bearer ${token}` } })).status;

  it("is read again: a token that is gone lets nobody in any more, on open connections neither", async () => {
    assert.deepEqual([await statusFor("token-1"), await statusFor("token-2")], [200, 401]);
    const { level, tokens } = await replace("# rotated\ntoken-2\ntoken-3 read\n");
    assert.deepEqual([level, tokens], [30, 2]);
    assert.deepEqual([await statusFor("token-1"), await statusFor("token-2"), await statusFor("token-3")], [401, 200, 200]);
  });

  it("and can't be used leaves the old tokens in force, and says which line is wrong", async () => {
    for (const [text, says] of [
      ["token-2\ntoken-3 wrong-scope\n", /line 2/],
      ["# nobody\n", /holds no token/],
    ] as const) {
      const { level, err } = await replace(text);
      assert.equal(level, 50);
      assert.match((err as { message: string }).message, says);
      assert.doesNotMatch(JSON.stringify(err), /token-\d/);
      assert.deepEqual([await statusFor("token-1"), await statusFor("token-2")], [200, 401]);
    }
  });
});
