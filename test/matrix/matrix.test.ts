/** What any client uploads, every client downloads as it was: bytes, modes, times, links and empty folders. */
import { strict as assert } from "node:assert";
import { execFile } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { serve, type TempFolder, type TestServer, tempFolder } from "../client/support.ts";
import { checkTree, makeTree, TIME_TOLERANCE_NS, type TreeEntry } from "../support/tree.ts";

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const MIB = 1024 * 1024;

interface Client {
  readonly command: readonly string[];
  /** Makes the command, where that takes more than a file. A language that isn't there fails here. */
  build?(folder: string): Promise<void>;
  /** How far a time that it restores may be off. */
  readonly toleranceNs: bigint;
}

const CLIENTS: Readonly<Record<string, (folder: string) => Client>> = {
  TypeScript: () => ({ command: [process.execPath, join(ROOT, "test/matrix/driver.ts")], toleranceNs: TIME_TOLERANCE_NS }),
  Python: () => ({
    command: [join(ROOT, ".tools/python-client/bin/python"), join(ROOT, "clients/python/tests/driver.py")],
    build: async () => void (await run(join(ROOT, "scripts/test-python.sh"), ["--install"])),
    toleranceNs: 0n,
  }),
  Go: (folder) => ({
    command: [join(folder, "go-driver")],
    build: async () => void (await run("go", ["build", "-o", join(folder, "go-driver"), "./clients/go/internal/driver"], { cwd: ROOT })),
    toleranceNs: 0n,
  }),
};
const LANGUAGES = Object.keys(CLIENTS);

const TIME = "1700000000123456789";
const FILES: readonly TreeEntry[] = [
  { path: "a", text: "1", mode: "640", mtime_ns: TIME },
  { path: "empty", text: "", mode: "600", mtime_ns: "1" },
  { path: "before 1970", text: "old", mode: "644", mtime_ns: "-86400000000001" },
  { path: "after 2038", text: "new", mode: "644", mtime_ns: "4102444800000000001" },
  { path: "run.sh", text: "#!/bin/sh\n", mode: "755", mtime_ns: "1699999999999999999" },
  { path: "read-only", text: "r", mode: "444", mtime_ns: TIME },
  { path: "of 64 KiB", size: 65_536, seed: 1, mode: "600", mtime_ns: TIME },
  { path: "of a chunk", size: MIB, seed: 2, mode: "600", mtime_ns: TIME },
  { path: "of a chunk and a byte", size: MIB + 1, seed: 3, mode: "600", mtime_ns: TIME },
  { path: "large", size: 5 * MIB + 17, seed: 4, mode: "600", mtime_ns: TIME },
  { path: ".hidden", text: "h", mode: "600", mtime_ns: TIME },
  { path: ".h/.i/j", text: "hh", mode: "600", mtime_ns: TIME },
  { path: ".h/.i/", mode: "711" },
  { path: "void/", mode: "750" },
  { path: "deep/void/of/nothing/", mode: "700" },
  { path: "closed/inside", text: "c", mode: "400", mtime_ns: TIME },
  { path: "closed/", mode: "555" },
  ...[
    "a:b",
    "a=b;c",
    "a,b",
    " a ",
    "%2e%2e",
    "a+b",
    "a#b?",
    "..a",
    "...",
    "-rf",
    "é",
    "e\u0301",
    "名前",
    "\u{1f600}",
    "a'b\"c",
    "*",
    "~",
  ].map((name, i) => ({ path: `odd ${name}/${name}`, text: String(i), mode: "600", mtime_ns: TIME })),
  { path: `long/${"é".repeat(127)}`, text: "l", mode: "600", mtime_ns: TIME },
  ...Array.from({ length: 50 }, (_, i) => ({ path: `many/${i}`, text: `${i}`, mode: "600", mtime_ns: TIME })),
];
/** Every link leads to something, so that the same tree serves both ways. */
const LINKS: readonly TreeEntry[] = [
  { path: "link", link: "a" },
  { path: ".h/up", link: "../large" },
  { path: "folder", link: ".h/.i" },
  { path: "link to a link", link: "./link" },
];
const FOLLOWED: readonly TreeEntry[] = [
  { path: "link", text: "1", mode: "640", mtime_ns: TIME },
  { path: ".h/up", size: 5 * MIB + 17, seed: 4, mode: "600", mtime_ns: TIME },
  { path: "folder/j", text: "hh", mode: "600", mtime_ns: TIME },
  { path: "folder/", mode: "711" },
  { path: "link to a link", text: "1", mode: "640", mtime_ns: TIME },
];
const SPECIAL: readonly TreeEntry[] = [{ path: "void/pipe", fifo: true }];
const WAYS = { follow: [...FILES, ...FOLLOWED], preserve: [...FILES, ...LINKS] } as const;
const filesIn = (entries: readonly TreeEntry[]) => entries.filter(({ path }) => !path?.endsWith("/")).length;

describe("every client with every other", function () {
  this.timeout(120_000);
  let folder: TempFolder;
  let server: TestServer;
  let local: string;
  const clients = new Map<string, Client>();

  async function act(language: string, ...args: string[]): Promise<Record<string, unknown>> {
    const { command } = clients.get(language) as Client;
    const env = { PATH: process.env["PATH"], HOME: folder.path, DSTACK_ARTIFACTS_URL: server.url };
    const [file = "", ...first] = command;
    const { stdout } = await run(file, [...first, ...args], { env });
    return JSON.parse(stdout) as Record<string, unknown>;
  }

  before(async function () {
    // Compiles Go, and installs for Python, where that was not done before.
    this.timeout(600_000);
    folder = tempFolder();
    local = join(folder.path, "local");
    makeTree(local, [...FILES, ...LINKS, ...SPECIAL]);
    for (const language of LANGUAGES) {
      const client = (CLIENTS[language] as (typeof CLIENTS)[string])(folder.path);
      await client.build?.(folder.path);
      clients.set(language, client);
    }
    server = await serve(`file://${folder.path}/store`, folder.path);
  });
  after(async () => {
    await server?.close();
    folder[Symbol.dispose]();
  });

  for (const from of LANGUAGES) {
    for (const [way, entries] of Object.entries(WAYS)) {
      const tag = `${from}-${way}`;
      it(`${from} uploads (${way} links)`, async () => {
        const { files, skipped } = await act(from, "upload", local, "x", tag, "--symlinks", way);
        assert.deepEqual({ files, skipped }, { files: filesIn(entries), skipped: 1 });
      });
      for (const to of LANGUAGES) {
        it(`what ${from} uploaded (${way} links), ${to} downloads`, async () => {
          const out = join(folder.path, `${tag}-${to}`);
          mkdirSync(out);
          const { files } = await act(to, "download", tag, out);
          assert.equal(files, filesIn(entries));
          checkTree(join(out, "x"), entries, clients.get(to)?.toleranceNs);
        });
      }
    }
  }
});
