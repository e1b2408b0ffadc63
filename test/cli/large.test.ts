/** A real tree of 5,000 files with every oddity, and a file of 1 GiB, there and back: by the command line and by the TypeScript API. */
import { strict as assert } from "node:assert";
import { randomFillSync } from "node:crypto";
import fs from "node:fs";
import { join } from "node:path";
import { compareTrees, readTree, type TreeEntry } from "../../scripts/compare-trees.ts";
import { createClient } from "../../src/index.ts";
import { type TempFolder, tempFolder } from "../client/support.ts";
import { type CliOptions, installed, json, type Served, serve } from "./installed.ts";

const FILES = 5_000;
const LARGE_BYTES = 1024 ** 3;
const BLOCK_BYTES = 16 * 1024 * 1024;
const ODD_NAMES = [" ", "...", "-rf", "%2e%2e", "a:b=c;d,e+f#g", "ünï-ço∂é", "日本語", "🦐", ".hidden", "~", "'\"`$", "x".repeat(255)];

describe("a tree of 5,000 files and a file of 1 GiB come back as they went", function () {
  this.timeout(600_000);
  let folder: TempFolder;
  let server: Served;
  let at: CliOptions;
  let expected: Map<string, TreeEntry>;

  before(async () => {
    await installed();
    folder = tempFolder();
    server = await serve(["--store", join(folder.path, "store"), "--listen", `unix://${folder.path}/s.sock`]);
    at = { cwd: folder.path, env: { DSTACK_ARTIFACTS_URL: server.url } };
    makeLargeTree(join(folder.path, "tree"));
    expected = readTree(join(folder.path, "tree"));
    assert.ok([...expected.values()].filter(({ type }) => type === "file").length > FILES);
  });
  after(async () => {
    await server?.stop();
    folder?.[Symbol.dispose]();
  });

  it("by the command line", async () => {
    const up = await json(["upload", "tree", "t", "--tag", "large"], at);
    assert.equal(up["files"], [...expected.values()].filter(({ type }) => type === "file").length);
    const down = await json(["download", ":large", "t", "out"], at);
    assert.deepEqual([down["files"], down["bytes"], down["run"]], [up["files"], up["bytes"], up["run"]]);
    assert.deepEqual(compareTrees(expected, readTree(join(folder.path, "out"))), []);
    fs.rmSync(join(folder.path, "out"), { recursive: true });
  });

  it("by the TypeScript API", async () => {
    const client = createClient({ url: server.url, env: {} });
    try {
      await client.upload({ localPath: join(folder.path, "tree"), artifactPath: "t", tag: "large-api" });
      await client.download({ tag: "large-api", artifactPath: "t", localPath: join(folder.path, "out-api") });
    } finally {
      await client.close();
    }
    assert.deepEqual(compareTrees(expected, readTree(join(folder.path, "out-api"))), []);
  });
});

function makeLargeTree(root: string): void {
  const block = Buffer.allocUnsafe(BLOCK_BYTES);
  randomFillSync(block);
  for (let n = 0; n < FILES; n++) {
    const parent = join(root, `d${n % 50}`, `e${n % 7}`);
    fs.mkdirSync(parent, { recursive: true });
    const path = join(parent, `f${n}`);
    // From nothing to 20 KiB, each from another place of the block.
    fs.writeFileSync(path, block.subarray(n, n + ((n * 37) % 20_000)), { mode: n % 3 === 0 ? 0o755 : 0o640 });
    fs.utimesSync(path, n * 1000 + 0.123456, n * 1000 + 0.654321);
  }
  for (const name of ODD_NAMES) {
    fs.mkdirSync(join(root, "odd", name, "empty"), { recursive: true });
    fs.writeFileSync(join(root, "odd", name, name), name);
  }
  fs.chmodSync(join(root, "odd"), 0o700);
  const fd = fs.openSync(join(root, "large"), "w", 0o600);
  for (let written = 0; written < LARGE_BYTES; written += BLOCK_BYTES) {
    block.writeBigUInt64LE(BigInt(written), 0);
    fs.writeSync(fd, block);
  }
  fs.closeSync(fd);
}
