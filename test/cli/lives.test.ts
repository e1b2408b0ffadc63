/** What a command shows while it runs, and how it ends when it is told to. */
import { strict as assert } from "node:assert";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { type TempFolder, tempFolder } from "../client/support.ts";
import { makeTree } from "../support/tree.ts";
import { type CliOptions, fails, installed, json, ok, type Served, serve, start } from "./installed.ts";
import { makeSparseFile } from "./sparse.ts";

describe("the command line, while it runs", function () {
  this.timeout(300_000);
  let folder: TempFolder;
  let server: Served;
  let at: CliOptions;
  before(async () => {
    await installed();
    folder = tempFolder();
    server = await serve(["--store", join(folder.path, "store"), "--listen", `unix://${folder.path}/s.sock`]);
    at = { cwd: folder.path, env: { DSTACK_ARTIFACTS_URL: server.url } };
    makeTree(folder.path, [{ path: "d/a", size: 200_000_000, seed: 1 }]);
  });
  after(async () => {
    await server?.stop();
    folder?.[Symbol.dispose]();
  });

  /** Runs a command with a terminal for stdin, stdout and stderr, and gives all that it showed. */
  async function onTerminal(args: readonly string[]): Promise<string> {
    const command = [join(await installed(), "node_modules/.bin/dstack-artifacts"), ...args].join(" ");
    const terminal = spawn("script", ["--quiet", "--return", "--command", command, "/dev/null"], {
      cwd: folder.path,
      env: { ...process.env, ...at.env, TERM: "xterm" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [shown, [code]] = await Promise.all([text(terminal.stdout), once(terminal, "exit")]);
    assert.equal(code, 0, shown);
    return shown;
  }

  it("an upload shows a bar with rate and time left on a terminal", async () => {
    const shown = await onTerminal(["upload", "d", "--run", "bar"]);
    assert.match(shown, /uploading {2}\[[#-]{10}\] \d+% {2}[\d.]+ [KM]?i?B of 190\.7 MiB {2}[\d.]+ [KMG]?i?B\/s {2}\d+:\d\d left/);
    assert.match(shown, /uploaded 1 file, 190\.7 MiB to run bar, commit 1/);
  });

  it("--quiet shows no bar there", async () => {
    assert.equal(
      await onTerminal(["upload", "d", "--run", "bar-quiet", "--quiet"]),
      "uploaded 1 file, 190.7 MiB to run bar-quiet, commit 1\r\n",
    );
  });

  it("nothing but the result is shown elsewhere", async () => {
    const child = await start(["upload", "d", "--run", "no-bar"], at);
    const [stdout, stderr] = await Promise.all([text(child.stdout as NodeJS.ReadableStream), text(child.stderr as NodeJS.ReadableStream)]);
    assert.deepEqual([stdout, stderr], ["uploaded 1 file, 190.7 MiB to run no-bar, commit 1\n", ""]);
  });

  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    it(`${signal} ends an upload with ${code}, without a word, and nothing of it can be seen`, async () => {
      makeSparseFile(join(folder.path, "d/zeros"), 4 * 1024 ** 3);
      try {
        const child = await start(["upload", "d", "--tag", `ended-${signal}`], at);
        const said = text(child.stderr as NodeJS.ReadableStream);
        const exited = once(child, "exit");
        while ((await json<{ uploads: { tag: string }[] }>(["uploads", "ls"], at)).uploads.every(({ tag }) => tag !== `ended-${signal}`));
        child.kill(signal);
        assert.deepEqual(await exited, [code, null]);
        assert.equal(await said, "");
        await fails(["ls", `:ended-${signal}`], at);
      } finally {
        fs.rmSync(join(folder.path, "d/zeros"));
      }
    });
  }

  it("a reader that closes the pipe is no failure to tell of", async () => {
    await ok(["upload", "d", "--run", "piped"], at);
    const child = await start(["cat", "piped", "d/a"], at);
    const said = text(child.stderr as NodeJS.ReadableStream);
    const exited = once(child, "exit");
    await once(child.stdout as NodeJS.ReadableStream, "readable");
    child.stdout?.destroy();
    await exited;
    assert.equal(await said, "");
  });

  it("a server ends with 0 by SIGTERM, with 130 by Ctrl-C, and takes its socket away", async () => {
    for (const [signal, code] of [
      ["SIGTERM", 0],
      ["SIGINT", 130],
    ] as const) {
      const own = await serve(["--store", "memory:", "--listen", `unix://${folder.path}/own.sock`]);
      assert.equal(await own.stop(signal), code);
      assert.ok(!fs.existsSync(join(folder.path, "own.sock")));
    }
  });

  it("a server that was killed leaves a socket that the next one replaces, and everything acknowledged", async () => {
    const args = ["--store", join(folder.path, "store-k"), "--listen", `unix://${folder.path}/k.sock`];
    const first = await serve(args);
    const there = { ...at, env: { DSTACK_ARTIFACTS_URL: first.url } };
    await ok(["upload", "d", "--tag", "kept"], there);
    await first.stop("SIGKILL");
    await using second = await serve(args);
    assert.equal(second.url, first.url);
    await ok(["verify", ":kept"], there);
  });
});
