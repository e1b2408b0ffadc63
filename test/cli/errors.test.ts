/** How commands fail: exit codes, and one line on stderr that names what failed and what to do. */
import { strict as assert } from "node:assert";
import fs from "node:fs";
import { join } from "node:path";
import { type TempFolder, tempFolder } from "../client/support.ts";
import { makeTree } from "../support/tree.ts";
import { type CliOptions, cli, fails, installed, ok, type Served, serve } from "./installed.ts";

const USAGE = 2;

describe("the command line's errors", function () {
  this.timeout(300_000);
  let folder: TempFolder;
  let server: Served;
  let at: CliOptions;

  before(async () => {
    await installed();
    folder = tempFolder();
    server = await serve(["--store", "memory:", "--listen", `unix://${folder.path}/s.sock`]);
    at = { cwd: folder.path, env: { DSTACK_ARTIFACTS_URL: server.url } };
    makeTree(folder.path, [
      { path: "d/a", text: "1" },
      { path: "dangling/l", link: "nowhere" },
    ]);
    await ok(["upload", "d", "--tag", "taken"], at);
  });
  after(async () => {
    await server?.stop();
    folder?.[Symbol.dispose]();
  });

  for (const args of [
    ["no-such-command"],
    ["runs", "no-such-command"],
    ["ls", "r", "--no-such-flag"],
    ["ls"],
    ["ls", "r", "p", "more"],
    ["upload", "d", "--symlinks", "sometimes"],
    ["cp", "r", "p"],
    ["upload", "d", "--run"],
  ])
    it(`${args.join(" ")}: not understood, exit code 2`, async () => void (await fails(args, at, USAGE)));

  it("no command at all: help, and exit code 2", async () => {
    const { code, stderr } = await cli([], at);
    assert.equal(code, USAGE);
    assert.match(stderr, /Usage: dstack-artifacts/);
  });

  const failures: readonly (readonly [why: string, args: readonly string[], message: RegExp])[] = [
    ["a local path that isn't there", ["upload", "nowhere"], /nowhere does not exist/],
    ["a path outside of the working directory", ["upload", "../x"], /\.\.\/x/],
    ["a tag that exists", ["upload", "d", "--tag", "taken"], /^tag "taken" already exists$/],
    ["a run and a tag", ["upload", "d", "--run", "r", "--tag", "t"], /run and tag/],
    ["an empty run", ["upload", "d", "--run="], /run ""/],
    ["an empty tag", ["upload", "d", "--tag="], /tag ""/],
    ["a bad name", ["upload", "d", "--run", "a/b"], /run "a\/b"/],
    ["an unknown run", ["download", "nope"], /"nope"/],
    ["an unknown tag", ["download", ":nope"], /"nope"/],
    ["a path that matches nothing", ["download", ":taken", "e"], /"e"/],
    ["a dangling link", ["upload", "dangling"], /l is a link to nowhere, .* \(to go on from there, add --resume [\w-]{36}\)$/],
    ["a bad reference", ["ls", ":"], /tag ""/],
    ["a commit that is no number", ["ls", "r@x"], /"r@x"/],
    ["a bad URL", ["ls", "r", "--url", "ftp://x"], /"ftp:\/\/x"/],
    ["an empty URL", ["ls", "r", "--url="], /""/],
    [
      "no server",
      ["ls", "r", "--url", "unix:///nowhere.sock"],
      /^no server at unix:\/\/\/nowhere\.sock: start one with `dstack-artifacts serve`$/,
    ],
    ["a port where nobody is", ["upload", "d", "--url", "http://127.0.0.1:1"], /^no server at http:\/\/127\.0\.0\.1:1: start one with/],
    ["an unknown tag to remove", ["tags", "rm", "nope"], /"nope"/],
    ["an unknown run to remove", ["runs", "rm", "nope"], /"nope"/],
    ["a tag for a commit that isn't there", ["tags", "create", "t", "nope@3"], /"nope"/],
    ["a copy of a path that isn't there", ["cp", ":taken", "e", "r"], /"e"/],
  ];
  for (const [why, args, message] of failures)
    it(`${why} is an error of one line`, async () => assert.match(await fails(args, at), message));

  it("a failed command with --json has no result, and its error on stderr", async () => {
    await fails(["download", "nope", "--json"], at);
  });

  describe("of serve", () => {
    const broken: readonly (readonly [why: string, args: readonly string[], message: RegExp])[] = [
      ["a kind of store that doesn't exist", ["--store", "ftp://x"], /ftp:/],
      ["an empty store", ["--store="], /store/],
      ["a store that is a file", ["--store", "d/a"], /d\/a/],
      ["TCP without a token", ["--store", "memory:", "--listen", "http://127.0.0.1:0"], /DSTACK_ARTIFACTS_TOKEN.*--token-file/],
      ["an address that is none", ["--store", "memory:", "--listen", "nonsense"], /nonsense/],
      [
        "a socket where a server listens",
        ["--store", "memory:", "--listen", "unix:{folder}/s.sock"],
        /s\.sock: a server is listening there already/,
      ],
      ["a certificate without its key", ["--store", "memory:", "--tls-cert", "x"], /--tls-key/],
      ["a token file that isn't there", ["--store", "memory:", "--token-file", "nowhere"], /nowhere/],
      ["a bad project", ["--store", "memory:", "--project", "a b"], /project "a b"/],
      ["an empty run", ["--store", "memory:", "--run="], /run ""/],
      ["a log level that doesn't exist", ["--store", "memory:", "--log-level", "loud"], /loud/],
    ];
    for (const [why, args, message] of broken)
      it(`${why} is an error of one line`, async () => {
        const given = args.map((arg) => arg.replace("{folder}", folder.path));
        const expected = given.includes("loud") ? USAGE : 1;
        assert.match(
          await fails(
            ["serve", ...given, ...(given.includes("--listen") ? [] : ["--listen", `unix://${folder.path}/x.sock`])],
            at,
            expected,
          ),
          message,
        );
      });

    it("an SDK that isn't installed is named, with the command that installs it", async () => {
      for (const [store, sdk] of [
        ["s3://b", "@aws-sdk/client-s3"],
        ["az://c?account=a", "@azure/storage-blob"],
        ["gs://b", "@google-cloud/storage"],
      ] as const) {
        const message = await fails(["serve", "--store", store, "--listen", `unix://${folder.path}/y.sock`], at);
        assert.match(message, new RegExp(`needs ${sdk}: npm install ${sdk}$`));
      }
    });
  });

  it("prints its version and help on stdout, everywhere", async () => {
    const { version } = JSON.parse(fs.readFileSync(join(import.meta.dirname, "../../package.json"), "utf8"));
    for (const args of [[], ["upload"], ["tags", "create"]]) {
      assert.equal(await ok([...args, "--version"]), `${version}\n`);
      assert.match(await ok([...args, "--help"]), /^Usage: dstack-artifacts/);
    }
  });
});
