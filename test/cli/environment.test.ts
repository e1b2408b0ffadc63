/** Where commands find a server, and servers their settings: flags, variables, defaults. */
import { strict as assert } from "node:assert";
import fs from "node:fs";
import { join } from "node:path";
import { type TempFolder, tempFolder } from "../client/support.ts";
import { makeTree } from "../support/tree.ts";
import { cli, fails, installed, json, ok, serve } from "./installed.ts";

const GENERATED = /^[a-z]+-[a-z]+-[1-9][0-9]*$/;

describe("the command line's environment", function () {
  this.timeout(300_000);
  let folder: TempFolder;
  before(async () => void (await installed()));
  beforeEach(() => {
    folder = tempFolder();
    makeTree(folder.path, [{ path: "d/a", text: "1" }]);
  });
  afterEach(() => folder[Symbol.dispose]());

  it("without any settings, server and clients meet at a socket in the run-time folder, which only the owner can open", async () => {
    const at = { cwd: folder.path, env: { HOME: folder.path, XDG_RUNTIME_DIR: join(folder.path, "run") } };
    await using server = await serve([], at);
    assert.equal(server.url, `unix://${folder.path}/run/dstack-artifacts/server.sock`);
    assert.equal(fs.statSync(join(folder.path, "run/dstack-artifacts")).mode & 0o777, 0o700);
    await ok(["upload", "d", "--tag", "t"], at);
    assert.equal(await ok(["cat", ":t", "d/a"], at), "1");
    assert.ok(fs.existsSync(join(folder.path, ".dstack/artifacts/store/main")), "the store is in the home folder");
  });

  it("without a run-time folder the socket is in the home folder", async () => {
    const at = { cwd: folder.path, env: { HOME: folder.path } };
    await using server = await serve([], at);
    assert.equal(server.url, `unix://${folder.path}/.dstack/artifacts/server.sock`);
    assert.equal(fs.statSync(join(folder.path, ".dstack/artifacts")).mode & 0o777, 0o700);
    await ok(["upload", "d"], at);
  });

  it("prints a line for each address, then the run's", async () => {
    const env = { DSTACK_ARTIFACTS_TOKEN: "secret-1" };
    await using server = await serve(
      ["--store", "memory:", "--listen", `unix://${folder.path}/s.sock`, "--listen", "http://127.0.0.1:0", "--run", "r"],
      { env },
    );
    assert.deepEqual([server.lines[0], server.lines[2], server.lines.length], [`listening on unix://${folder.path}/s.sock`, "run r", 3]);
    assert.match(server.lines[1] ?? "", /^listening on http:\/\/127\.0\.0\.1:[1-9]\d*$/);
  });

  it("takes store, project, run and token from variables, where an empty one is an unset one", async () => {
    const at = {
      cwd: folder.path,
      env: {
        HOME: folder.path,
        DSTACK_ARTIFACTS_STORE: join(folder.path, "elsewhere"),
        DSTACK_ARTIFACTS_URL: `unix://${folder.path}/s.sock`,
        DSTACK_PROJECT: "p1",
        DSTACK_RUN_NAME: "",
        RUN_NAME: "from-run-name",
        DSTACK_ARTIFACTS_TOKEN: "",
      },
    };
    await using server = await serve([], at);
    assert.deepEqual([server.url, server.run], [`unix://${folder.path}/s.sock`, "from-run-name"]);
    assert.equal((await json(["upload", "d"], { ...at, env: { DSTACK_ARTIFACTS_URL: server.url } }))["run"], "from-run-name");
    assert.equal((await json(["upload", "d"], { ...at, env: { ...at.env, DSTACK_RUN_NAME: "of-client" } }))["run"], "of-client");
    assert.ok(fs.existsSync(join(folder.path, "elsewhere/p1")));
  });

  it("DSTACK_RUN_NAME comes before RUN_NAME, and a flag before both", async () => {
    const env = { DSTACK_RUN_NAME: "first", RUN_NAME: "second", HOME: folder.path };
    await using one = await serve(["--store", "memory:"], { env });
    assert.equal(one.run, "first");
    await using two = await serve(["--store", "memory:", "--run", "flag", "--listen", `unix://${folder.path}/2.sock`], { env });
    assert.equal(two.run, "flag");
  });

  it("a server without a run's name makes one up, another each time", async () => {
    const store = join(folder.path, "store");
    const runs: string[] = [];
    for (const n of [1, 2]) {
      await using server = await serve(["--store", store, "--listen", `unix://${folder.path}/${n}.sock`]);
      runs.push(server.run);
    }
    for (const run of runs) assert.match(run, GENERATED);
    assert.notEqual(runs[0], runs[1]);
  });

  it("a token of the variable lets in over TCP, another or none doesn't, and neither is shown", async () => {
    const token = "secret-of-the-test";
    await using server = await serve(["--store", "memory:", "--listen", "http://127.0.0.1:0"], { env: { DSTACK_ARTIFACTS_TOKEN: token } });
    const at = (value: string) => ({ cwd: folder.path, env: { DSTACK_ARTIFACTS_URL: server.url, DSTACK_ARTIFACTS_TOKEN: value } });
    await ok(["upload", "d"], at(token));
    assert.match(await fails(["runs", "ls"], at("wrong-token")), /^(?!.*wrong-token).*DSTACK_ARTIFACTS_TOKEN/);
    assert.match(await fails(["runs", "ls"], at("")), /DSTACK_ARTIFACTS_TOKEN/);
  });

  it("a token file decides who may do what", async () => {
    const tokens = join(folder.path, "tokens");
    fs.writeFileSync(tokens, "reader read\nwriter write\n", { mode: 0o600 });
    await using server = await serve(["--store", "memory:", "--listen", "http://127.0.0.1:0", "--token-file", tokens]);
    const at = (value: string) => ({ cwd: folder.path, env: { DSTACK_ARTIFACTS_URL: server.url, DSTACK_ARTIFACTS_TOKEN: value } });
    await ok(["upload", "d", "--tag", "t"], at("writer"));
    await ok(["ls", ":t"], at("reader"));
    assert.match(await fails(["upload", "d"], at("reader")), /read/);
  });

  it("projects are apart from each other", async () => {
    const url = `unix://${folder.path}/s.sock`;
    await using server = await serve(["--store", "memory:", "--listen", url]);
    const at = (project: string) => ({ cwd: folder.path, env: { DSTACK_ARTIFACTS_URL: server.url, DSTACK_PROJECT: project } });
    await ok(["upload", "d", "--tag", "same"], at("p1"));
    await ok(["upload", "d", "--tag", "same"], at("p2"));
    assert.match(await fails(["ls", ":same"], at("p3")), /"same"/);
  });

  it("--url comes before the variable, also in front of the command", async () => {
    const url = `unix://${folder.path}/s.sock`;
    await using server = await serve(["--store", "memory:", "--listen", url]);
    const env = { DSTACK_ARTIFACTS_URL: "unix:///nowhere.sock" };
    assert.deepEqual(await json(["runs", "ls", "--url", server.url], { env }), { runs: [] });
    assert.deepEqual(await json(["--url", server.url, "runs", "ls"], { env }), { runs: [] });
  });

  it("--quiet leaves results and errors, and nothing else", async () => {
    await using server = await serve(["--store", "memory:", "--listen", `unix://${folder.path}/s.sock`]);
    const at = { cwd: folder.path, env: { DSTACK_ARTIFACTS_URL: server.url } };
    await ok(["upload", "d", "--run", "r"], at);
    assert.equal((await cli(["ls", "r"], at)).stderr, "1 file, 1 B\n");
    const quiet = await cli(["ls", "r", "--quiet"], at);
    assert.equal(quiet.stderr, "");
    assert.match(quiet.stdout, /d\/\n$/);
  });
});
