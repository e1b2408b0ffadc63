import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Driver } from "../../src/store/driver.ts";
import { openFile } from "../../src/store/drivers/file.ts";
import type { DriverHarness } from "./conformance.ts";
import { describeDriver, put, rejectsWith, testBytes } from "./conformance.ts";

const WORKER = fileURLToPath(new URL("./file-worker.ts", import.meta.url));
const CLOSED_FOLDERS = fileURLToPath(new URL("./closed-folders.ts", import.meta.url));
const CASE_BLIND = fileURLToPath(new URL("./case-blind.ts", import.meta.url));

/** A new folder; removed by `removeFolders`. */
const folders: string[] = [];
function newFolder(): string {
  const folder = fs.mkdtempSync(join(os.tmpdir(), "dstack-artifacts-file-"));
  folders.push(folder);
  return folder;
}
function removeFolders(): void {
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true, force: true });
}

/** Runs test/store/file-worker.ts under a shell's limits (`ulimit …`), and gives what it printed. */
async function work(limits: string, ...args: string[]): Promise<string> {
  const child = spawn("sh", ["-c", `${limits}; exec "$0" "$@"`, process.execPath, WORKER, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  const [code] = await once(child, "close");
  assert.equal(code, 0, output);
  return output.trim();
}

function flipByte(path: string, position: number): void {
  const bytes = fs.readFileSync(path);
  bytes[position] = (bytes[position] as number) ^ 0x10;
  fs.writeFileSync(path, bytes);
}

function fileHarness(): DriverHarness {
  let root = "";
  return {
    start: async () => {
      root = newFolder();
    },
    open: (space) => openFile(join(root, space)),
    async openDamageable(space) {
      return {
        driver: await openFile(join(root, space)),
        damage: async (key) => flipByte(join(root, space, key), 0),
      };
    },
    failures: [
      {
        when: "its folder is a file",
        kind: "misconfigured",
        async call() {
          fs.writeFileSync(join(root, "file"), "");
          await openFile(join(root, "file"));
        },
      },
      ...(["put", "read", "list", "delete"] as const).map((call) => ({
        when: `its folder goes away before it is called (${call})`,
        kind: "misconfigured" as const,
        async call() {
          const driver = await openFile(join(root, `gone-${call}`));
          fs.rmSync(join(root, `gone-${call}`), { recursive: true });
          if (call === "put") await put(driver, "a/b", testBytes(10));
          else if (call === "read") await driver.read("a/b", undefined);
          else if (call === "list") await driver.list("a/");
          else await driver.delete("a/b");
        },
      })),
    ],
    stop: async () => removeFolders(),
  };
}

describeDriver("file", fileHarness());

describe("the driver file besides", function () {
  this.timeout(60_000);
  let root: string;
  let driver: Driver;
  beforeEach(async () => {
    root = join(newFolder(), "store");
    driver = await openFile(root);
  });
  afterEach(() => driver.close());
  after(removeFolders);

  const temporaryFiles = (): string[] => fs.readdirSync(join(root, ".tmp"));

  it("makes its folder, and all above it, for the owner alone", async () => {
    const deep = join(root, "x", "y", "z");
    await (await openFile(deep)).close();
    for (const folder of [join(root, "x"), join(root, "x", "y"), deep]) assert.equal(fs.statSync(folder).mode & 0o777, 0o700);
  });

  it("gives files mode 0600 and folders 0700", async () => {
    await put(driver, "main/runs/r", testBytes(10));
    assert.equal(fs.statSync(join(root, "main/runs/r")).mode & 0o777, 0o600);
    assert.equal(fs.statSync(join(root, "main/runs")).mode & 0o777, 0o700);
  });

  it("leaves no temporary file, whether a put wins, loses, is refused or is ended", async () => {
    await put(driver, "a/b", testBytes(10));
    await put(driver, "a/b", testBytes(10));
    await rejectsWith("damaged", driver.putIfAbsent("a/c", [testBytes(10)], { crc32c: 1 }));
    const controller = new AbortController();
    const ended = driver.putIfAbsent("a/d", [testBytes(10_000_000)], { crc32c: 1, signal: controller.signal });
    controller.abort();
    await assert.rejects(ended);
    await driver.close();
    assert.deepEqual(temporaryFiles(), []);
  });

  it("removes temporary files of an hour ago when it is opened, and younger ones not", async () => {
    for (const name of ["1-old", "2-young"]) fs.writeFileSync(join(root, ".tmp", name), "x");
    const now = Date.now();
    fs.utimesSync(join(root, ".tmp", "1-old"), new Date(), new Date(now - 3_600_000));
    fs.utimesSync(join(root, ".tmp", "2-young"), new Date(), new Date(now - 3_500_000));
    await (await openFile(root, { now: () => now })).close();
    assert.deepEqual(temporaryFiles(), ["2-young"]);
  });

  it("shows nothing of its temporary files, and takes no keys there", async () => {
    fs.writeFileSync(join(root, ".tmp", "1-x"), "x");
    assert.deepEqual(await driver.list(""), { objects: [], more: false });
    assert.deepEqual(await driver.list(".tmp/"), { objects: [], more: false });
    await rejectsWith("failed", put(driver, ".tmp/1-y", testBytes(1)));
    await rejectsWith("failed", driver.delete(".tmp/1-x"));
  });

  it("never leaves its folder, whatever the key or prefix", async () => {
    fs.writeFileSync(join(root, "..", "secret"), "x".repeat(100));
    for (const key of ["../secret", "a/../../secret", "/etc/passwd", "a//b", "./a", "a\0b"]) {
      await rejectsWith("failed", driver.read(key, undefined));
      await rejectsWith("failed", put(driver, key, testBytes(1)));
      await rejectsWith("failed", driver.delete(key));
      assert.deepEqual(await driver.list(key), { objects: [], more: false });
    }
    assert.deepEqual(await driver.list("../"), { objects: [], more: false });
  });

  it("removes folders that become empty, and only those", async () => {
    for (const key of ["main/data/u1/a/1", "main/data/u2/a/1", "main/runs/r"]) await put(driver, key, testBytes(1));
    await driver.delete("main/data/u1/a/1");
    assert.deepEqual(fs.readdirSync(join(root, "main/data")), ["u2"]);
    await driver.delete("main/data/u2/a/1");
    assert.deepEqual(fs.readdirSync(join(root, "main")), ["runs"]);
    await driver.delete("main/runs/r");
    assert.deepEqual(fs.readdirSync(root), [".tmp"]);
  });

  it("puts into folders that other deletions keep removing", async () => {
    const other = await openFile(root);
    const keys = Array.from({ length: 150 }, (_, i) => `main/data/u/a/${i}`);
    const created = await Promise.all(
      keys.map(async (key, i) => {
        const created = await put(i % 2 ? driver : other, key, testBytes(10));
        await (i % 3 ? driver : other).delete(key);
        return created;
      }),
    );
    assert.ok(created.every(Boolean));
    assert.deepEqual(fs.readdirSync(root), [".tmp"]);
    await other.close();
  });

  it("refuses an object where there is a folder, and a folder where there is an object", async () => {
    await put(driver, "a/b", testBytes(1));
    await rejectsWith("failed", put(driver, "a", testBytes(1)));
    await rejectsWith("failed", put(driver, "a/b/c", testBytes(1)));
    await driver.delete("a");
    assert.equal((await driver.read("a/b", undefined)).length, 1);
  });

  describe("finds damage when it reads a file", () => {
    const size = 1000;
    const places: readonly [string, number][] = [
      ["the first byte", 0],
      ["the last byte", size - 1],
      ["the mark of the trailer", size],
      ["the checksum in the trailer", size + 4],
      ["the size in the trailer", size + 8],
      ["the last byte of the trailer", size + 15],
    ];
    for (const [what, position] of places) {
      it(`with ${what} changed`, async () => {
        await put(driver, "a", testBytes(size));
        flipByte(join(root, "a"), position);
        await rejectsWith("damaged", driver.read("a", undefined));
      });
    }
    for (const length of [0, 1, 16, size, size + 15]) {
      it(`cut to ${length} bytes`, async () => {
        await put(driver, "a", testBytes(size));
        fs.truncateSync(join(root, "a"), length);
        await rejectsWith("damaged", driver.read("a", undefined));
        assert.equal((await driver.list("")).objects.length, 1, "it can be listed, to be deleted");
      });
    }
    for (const [what, bytes] of [
      ["nothing but zeros", Buffer.alloc(16)],
      ["something of somebody else", Buffer.from("hello")],
    ] as const) {
      it(`that is ${what}`, async () => {
        fs.writeFileSync(join(root, "a"), bytes);
        await rejectsWith("damaged", driver.read("a", undefined));
      });
    }
    it("with bytes added", async () => {
      await put(driver, "a", testBytes(size));
      fs.appendFileSync(join(root, "a"), "x");
      await rejectsWith("damaged", driver.read("a", undefined));
    });
  });

  it("lists keys in the order of their UTF-8 bytes, in folders too", async () => {
    const keys = ["é/x", "\uFF5E/x", "\uFF5E0", "\u{1F600}/x", "z"];
    for (const key of keys) await put(driver, key, testBytes(1));
    assert.deepEqual(
      (await driver.list("")).objects.map(({ key }) => key),
      ["z", "é/x", "\uFF5E/x", "\uFF5E0", "\u{1F600}/x"],
    );
  });

  it("reads an object that its writer gave its name, but died before taking away the temporary one", async () => {
    await put(driver, "main/log/r/1", testBytes(10));
    fs.linkSync(join(root, "main/log/r/1"), join(root, ".tmp", "1-dead"));
    for (let i = 0; i < 2; i++) {
      assert.equal((await driver.read("main/log/r/1", undefined)).length, 10);
      assert.equal((await driver.list("main/")).objects.length, 1);
      assert.equal(await put(driver, "main/log/r/1", testBytes(10)), false);
    }
  });

  it("leaves out folders that it may not read where it lists all, and nowhere else", async () => {
    for (const key of ["main/runs/r", "other/runs/r", "zoo"]) await put(driver, key, testBytes(1));
    for (const [closed, prefix, found] of [
      ["other", "", "resolved main/runs/r zoo"],
      ["other", "other/", "denied"],
      ["runs", "", "resolved zoo"],
      ["runs", "main/", "denied"],
    ] as const) {
      const limits = `export CLOSED_FOLDERS=${closed} NODE_OPTIONS='--import=${CLOSED_FOLDERS}'`;
      assert.equal((await work(limits, "list", root, prefix)).split(" file://")[0], found, `${closed}, listing ${prefix}`);
    }
  });

  it("refuses a file system that doesn't tell names by their case, and says what to do", async () => {
    const blind = `export CASE_BLIND='${root}' NODE_OPTIONS='--import=${CASE_BLIND}'`;
    assert.match(await work(blind, "put", root, "main/runs/Model", "10"), /^unsupported .*upper and lower case.*choose a folder/);
    assert.deepEqual(fs.readdirSync(root), [".tmp"]);
    assert.deepEqual(temporaryFiles(), []);
  });

  it("takes a folder with one beside its own that differs in case", async () => {
    fs.mkdirSync(join(root, ".TMP"));
    await (await openFile(root)).close();
  });

  describe("under limits of the system", () => {
    it("says `full` for a file that grows over what is allowed, after a short write, and leaves nothing", async () => {
      // The shell counts blocks of 512 or 1,024 bytes; either way the limit lies inside the body.
      assert.match(await work("ulimit -f 1000", "put", root, "big", "3000000"), /^full .*EFBIG/);
      assert.deepEqual(fs.readdirSync(root), [".tmp"]);
      assert.deepEqual(temporaryFiles(), []);
    });

    it("says `temporary` when the process has no file left to open", async () => {
      assert.match(await work("ulimit -n 40", "exhaust", root), /^temporary .*ulimit -n/);
    });
  });

  it("has one winner among the puts of several processes, and loses nothing that others put", async () => {
    const outputs = await Promise.all(Array.from({ length: 3 }, (_, i) => work("true", "race", root, String(i), "40")));
    const won = outputs.flatMap((output) => output.split(" ").filter(Boolean));
    assert.equal(won.length, 40, "each number has one winner");
    assert.equal(new Set(won).size, 40);
    const { objects } = await driver.list("");
    assert.equal(objects.filter(({ key }) => key.startsWith("log/")).length, 40);
    assert.equal(objects.filter(({ key }) => key.startsWith("own/")).length, 120);
  });

  it("leaves a whole object or nothing when its process is killed", async () => {
    const child = spawn(process.execPath, [WORKER, "endless", root], { stdio: ["ignore", "pipe", "inherit"] });
    let acknowledged = "";
    for await (const chunk of child.stdout.setEncoding("utf8")) {
      acknowledged += chunk;
      if (acknowledged.split("\n").length > 10) child.kill("SIGKILL");
    }
    const keys = acknowledged.split("\n").slice(0, -1);
    const { objects } = await driver.list("endless/");
    const found = objects.map(({ key }) => key);
    for (const key of keys) assert.ok(found.includes(key), `${key} was acknowledged`);
    for (const key of found) assert.equal((await driver.read(key, undefined)).length, 300_000);
  });

  it("finds the newest of 10,000 entries", async () => {
    const folder = join(root, "main/log/r");
    fs.mkdirSync(folder, { recursive: true });
    for (let i = 0; i < 10_000; i++) fs.writeFileSync(join(folder, String(10 ** 12 - 1 - i).padStart(12, "0")), "");
    const page = await driver.list("main/log/r/", { limit: 1 });
    assert.deepEqual(
      page.objects.map(({ key }) => key),
      ["main/log/r/999999990000"],
    );
    assert.equal(page.more, true);
  });
});
