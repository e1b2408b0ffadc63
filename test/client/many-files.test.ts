/** Downloads of so many small files that a thread of their own writes them. */
import { strict as assert } from "node:assert";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { EntryHeaderSchema, EntryType, FileEndSchema } from "../../gen/ts/dstack/artifacts/v1/entries_pb.ts";
import { createFileWriter, type FileWriter, type Written } from "../../src/client/file-writer.ts";
import { Incoming } from "../../src/client/incoming.ts";
import { LocalTree } from "../../src/client/local-tree.ts";
import { RefetchError } from "../../src/client/partial-file.ts";
import { createMeter } from "../../src/client/progress.ts";
import type { SmallFiles } from "../../src/client/small-files.ts";
import { crc32c } from "../../src/lib/crc32c.ts";
import { bytesOf, checkTree, makeTree, type TreeEntry } from "../support/tree.ts";
import { proxy } from "./proxy.ts";
import { clientAt, run, serve, type TempFolder, tempFolder } from "./support.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const COUNT = 1_000;
/** Sizes of the files, again and again: none, a byte, about what a frame or a batch holds. */
const SIZES = [0, 1, 300, 4 * KIB, 16 * KIB - 1, 5];
const nameOf = (i: number) => `f${Math.floor(i / 100)}/${String(i).padStart(5, "0")}`;
const TREE: TreeEntry[] = [
  ...Array.from({ length: COUNT }, (_, i) => ({ path: nameOf(i), size: SIZES[i % SIZES.length] as number, seed: i % 7 })),
  { path: "f3/exactly", size: MIB, seed: 1 },
  { path: "f3/large", size: 3 * MIB + 7, seed: 2 },
  { path: "f4/private", text: "p", mode: "600" },
  { path: "f4/program", text: "#!", mode: "755", mtime_ns: "1700000000123456000" },
  { path: "f5/old", text: "o", mode: "444", mtime_ns: "-86400500000000" },
  { path: "f6/empty/", mode: "750" },
  { path: "f6/link", link: "../f4/program" },
  ...Array.from({ length: 40 }, (_, i) => ({ path: `f7/medium-${i}`, size: 200 * KIB + i, seed: 3 })),
];
const FILES = TREE.length - 1;
const BYTES = TREE.reduce((sum, { size = 0, text = "" }) => sum + size + text.length, 0);

/** A file without a byte. */
const WANTED = { size: 0, crc32c: 0, mode: 0o600, mtimeNs: undefined };

describe("many small files", () => {
  let folder: TempFolder;
  const path = (name: string) => join(folder.path, name);
  beforeEach(() => {
    folder = tempFolder();
    makeTree(path("local"), TREE);
  });
  afterEach(() => folder[Symbol.dispose]());

  /** A server with the tree as run `r`, and a proxy before it. */
  async function start() {
    const server = await serve("memory:", folder.path);
    await using client = clientAt(server.url);
    await client.upload({ localPath: path("local"), artifactPath: "", run: "r", symlinks: "preserve" });
    const between = await proxy(folder.path, server.url);
    return {
      url: between.url,
      between,
      async [Symbol.asyncDispose]() {
        await between[Symbol.asyncDispose]();
        await server.close();
      },
    };
  }

  it("come as they are, whether the thread has just begun or has been there before", async () => {
    await using server = await start();
    await using client = clientAt(server.url);
    for (const out of ["first", "second"]) {
      const told: number[] = [];
      const result = await client.download({ run: "r", localPath: path(out), onProgress: ({ files }) => told.push(files) });
      assert.deepEqual([result.files, result.bytes], [FILES, BYTES]);
      assert.equal(told.at(-1), FILES);
      checkTree(path(out), TREE);
    }
  });

  it("are taken up again over connections that keep breaking, each counted once", async () => {
    await using server = await start();
    await using client = clientAt(server.url);
    const { between } = server;
    let next = 200 * KIB;
    let breaks = 0;
    between.onBytes = (_, received) => {
      if (received < next) return;
      next = received + 700 * KIB;
      breaks++;
      between.cut();
    };
    const told: number[] = [];
    const result = await client.download({ run: "r", localPath: path("out"), onProgress: ({ bytes }) => told.push(bytes) });
    assert.deepEqual([result.files, result.bytes], [FILES, BYTES]);
    assert.equal(told.at(-1), BYTES);
    assert.ok(breaks >= 10, `the connection broke ${breaks} times`);
    checkTree(path("out"), TREE);
  });

  for (const share of [0.1, 0.5, 0.9]) {
    it(`have their names only when they are whole, should the client be killed after ${share * 100} %, and the next goes on`, async () => {
      await using server = await start();
      const { between } = server;
      const end = await run(
        "download",
        server.url,
        { run: "r", localPath: path("out") },
        {
          onStart(child) {
            between.onBytes = (_, received) => {
              if (received > share * BYTES) child.kill("SIGKILL");
            };
          },
        },
      );
      assert.equal(end, undefined, "the client was not killed");
      const names = fs.readdirSync(path("out"), { recursive: true, encoding: "utf8" });
      const whole = TREE.filter(({ path: name = "", link }) => link === undefined && !name.endsWith("/") && names.includes(name));
      for (const { path: name = "", text, seed = 0, size = 0 } of whole)
        assert.ok(fs.readFileSync(path(`out/${name}`)).equals(text === undefined ? bytesOf(seed, size) : Buffer.from(text)), name);
      assert.ok(whole.length < FILES - 1 && (share < 0.5 || whole.length > 100), `${whole.length} files were there`);
      between.onBytes = () => {};
      await using client = clientAt(server.url);
      const { files } = await client.download({ run: "r", localPath: path("out") });
      assert.equal(files, FILES);
      checkTree(path("out"), TREE);
    });
  }

  it("may be wanted by several downloads into one folder at once", async () => {
    await using server = await start();
    const clients = [clientAt(server.url), clientAt(server.url), clientAt(server.url)];
    const results = await Promise.all(clients.map((each) => each.download({ run: "r", localPath: path("out") })));
    for (const { files } of results) assert.equal(files, FILES);
    for (const each of clients) await each.close();
    checkTree(path("out"), TREE);
  });

  it("end the download at one that finds a folder in its place, which is named and stays", async () => {
    await using server = await start();
    await using client = clientAt(server.url);
    const inTheWay = path(`out/${nameOf(900)}`);
    fs.mkdirSync(inTheWay, { recursive: true });
    fs.writeFileSync(join(inTheWay, "kept"), "k");
    await assert.rejects(client.download({ run: "r", localPath: path("out") }), {
      name: "ArtifactsDownloadError",
      message: `${inTheWay} is a folder, but the run has a file there`,
    });
    assert.equal(fs.readFileSync(join(inTheWay, "kept"), "utf8"), "k");
    fs.rmSync(inTheWay, { recursive: true });
    await client.download({ run: "r", localPath: path("out") });
    checkTree(path("out"), TREE);
  });

  it("end the download at one that the system refuses, which is named", async () => {
    await using server = await start();
    // In blocks of 1 KiB: enough for all small files.
    const end = await run("download", server.url, { run: "r", localPath: path("out") }, { prelude: "ulimit -f 100" });
    assert.equal(end?.error?.name, "ArtifactsDownloadError");
    assert.match(end.error.message, /\/out\/f3\/(exactly|large) can't be written: it is larger than/);
    checkTree(
      path("out/f1"),
      TREE.flatMap(({ path: name = "", ...rest }) => (name.startsWith("f1/") ? [{ ...rest, path: name.slice(3) }] : [])),
    );
  });

  it("are none of them still being written once a download has failed", async () => {
    const writer = createFileWriter();
    try {
      // So that there is a thread, and work for it.
      const warm = { finals: [], partials: [], sizes: Array<number>(300).fill(0), modes: [], mtimes: [] };
      while (!(writer.write(warm, new Uint8Array(1)) instanceof Promise)) await new Promise((resolve) => setTimeout(resolve, 10));
      fs.mkdirSync(path("out/in-the-way"), { recursive: true });
      const incoming = new Incoming(new LocalTree(path("out")), (each) => each, createMeter(undefined, { files: 0, bytes: 0 }), writer);
      const take = async (name: string) => {
        const bytes = bytesOf(1, 300);
        const header = create(EntryHeaderSchema, { path: name, type: EntryType.FILE, size: 300n, mode: 0o600, crc32c: crc32c(bytes) });
        await incoming.take({ case: "file", value: header });
        await incoming.take({ case: "chunk", value: new Uint8Array(bytes) });
        await incoming.take({ case: "fileEnd", value: create(FileEndSchema, {}) });
      };
      // As many batches as wait for the thread: the last is written here, while they still are there.
      for (let i = 0; i < 12_000; i++) {
        await take(`f${i}`);
        if (i % 3_000 === 2_999) await incoming.pass();
      }
      await take("in-the-way");
      await assert.rejects(incoming.settle(), /in-the-way is a folder/);
      const names = fs.readdirSync(path("out"));
      assert.equal(names.length, 12_001);
      assert.ok(!names.some((name) => name.endsWith(".partial")));
    } finally {
      writer.close();
    }
  });

  it("come again, all of those behind them too, if one of them has to", async () => {
    const { write, close } = createFileWriter();
    let failures = 1;
    const writer: FileWriter = {
      close,
      write: (files, bytes) =>
        failures-- > 0 ? Promise.reject(new RefetchError({ ...WANTED, path: "b" }, "is wrong")) : write(files, bytes),
    };
    fs.mkdirSync(path("out"));
    const incoming = new Incoming(new LocalTree(path("out")), (each) => each, createMeter(undefined, { files: 0, bytes: 0 }), writer);
    const takeAll = async () => {
      for (const name of ["a", "b", "c"]) {
        await incoming.take({ case: "file", value: create(EntryHeaderSchema, { ...WANTED, path: name, type: EntryType.FILE, size: 0n }) });
        await incoming.take({ case: "fileEnd", value: create(FileEndSchema, {}) });
      }
      await incoming.settle();
    };
    const wrong = await takeAll().catch((error: unknown) => error as RefetchError);
    assert.ok(wrong instanceof RefetchError);
    await incoming.leave(wrong);
    assert.deepEqual([incoming.lastDone, incoming.files], ["", 0]);
    await takeAll();
    assert.deepEqual([incoming.lastDone, incoming.files], ["c", 3]);
    assert.deepEqual(fs.readdirSync(path("out")), ["a", "b", "c"]);
    writer.close();
  });

  describe("in the hands of the writer", () => {
    let writer: FileWriter;
    beforeEach(() => {
      fs.mkdirSync(path("out"));
      writer = createFileWriter();
    });
    afterEach(() => writer.close());

    function filesOf(texts: Readonly<Record<string, string>>): [SmallFiles, Uint8Array<ArrayBuffer>] {
      const names = Object.keys(texts);
      const files: SmallFiles = {
        finals: names.map((name) => path(`out/${name}`)),
        partials: names.map((name) => path(`out/.${name}.partial`)),
        sizes: Object.values(texts).map((text) => text.length),
        modes: names.map(() => 0o640),
        mtimes: names.map(() => 1_700_000_000),
      };
      const bytes = Buffer.allocUnsafeSlow(1_000);
      bytes.write(Object.values(texts).join(""));
      return [files, bytes];
    }

    /** Writes files until the thread does it. */
    async function untilThread(): Promise<Written> {
      for (let i = 0; ; i++) {
        const written = writer.write(...filesOf({ [`one-${i}`]: "1", [`two-${i}`]: "22" }));
        if (written instanceof Promise) return written;
        assert.deepEqual(written.left, []);
        await new Promise((resolve) => setTimeout(resolve, i < 200 ? 0 : 10));
      }
    }

    it("are written here at first, then in a thread, which gives the memory back", async () => {
      const { left, bytes } = await untilThread();
      assert.deepEqual([left, bytes.length, Buffer.from(bytes).toString("utf8", 0, 3)], [[], 1_000, "122"]);
      const names = fs.readdirSync(path("out"));
      assert.ok(names.length > 256, `${names.length} files are there`);
      for (const name of names) {
        const stats = fs.statSync(path(`out/${name}`));
        assert.deepEqual([stats.mode & 0o777, stats.mtimeMs], [0o640, 1_700_000_000_000]);
        assert.equal(fs.readFileSync(path(`out/${name}`), "utf8"), name.startsWith("one") ? "1" : "22");
      }
    });

    it("are left where something is in the way, here as in the thread, and what is there stays", async () => {
      for (const round of ["here", "thread"]) {
        if (round === "thread") await untilThread();
        fs.writeFileSync(path(`out/.b-${round}.partial`), "of somebody");
        fs.mkdirSync(path(`out/c-${round}`));
        const { left } = await writer.write(
          ...filesOf({ [`a-${round}`]: "a", [`b-${round}`]: "b", [`c-${round}`]: "c", [`d-${round}`]: "d" }),
        );
        assert.deepEqual(left, [1, 2]);
        const names = fs.readdirSync(path("out")).filter((name) => name.includes(round));
        assert.deepEqual(names.sort(), [`.b-${round}.partial`, `a-${round}`, `c-${round}`, `d-${round}`]);
        assert.equal(fs.readFileSync(path(`out/.b-${round}.partial`), "utf8"), "of somebody");
      }
    });

    it("are told of as failed when the thread ends before they are written", async () => {
      await untilThread();
      // More than it can have written by then.
      const many = Object.fromEntries(Array.from({ length: 900 }, (_, i) => [`z${i}`, "z"]));
      const written = Promise.resolve(writer.write(...filesOf(many)));
      writer.close();
      await assert.rejects(written, /the thread that writes files ended/);
    });
  });

  it("are all written here by a process that may start no thread", () => {
    const { href } = new URL("../../src/client/file-writer.ts", import.meta.url);
    const script = `
      const { createFileWriter } = await import(${JSON.stringify(href)});
      const writer = createFileWriter();
      const results = [];
      for (let i = 0; i < 1000; i++) {
        results.push(writer.write({ finals: ["${folder.path}/f" + i], partials: ["${folder.path}/p" + i], sizes: [1], modes: [0o600], mtimes: [undefined] }, new Uint8Array(10)));
        if (i % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      console.log(results.every((written) => written.left?.length === 0));
    `;
    const flags = ["--permission", "--allow-fs-read=*", "--allow-fs-write=*"];
    const { status, stdout } = spawnSync(process.execPath, [...flags, "--input-type=module", "-e", script], {
      encoding: "utf8",
      timeout: 60_000,
    });
    assert.deepEqual([status, stdout], [0, "true\n"]);
    assert.equal(fs.readdirSync(folder.path).filter((name) => /^f\d/.test(name)).length, 1_000);
  });

  it("keep no process alive whose client was not closed", () => {
    const { href } = new URL("../../src/client/file-writer.ts", import.meta.url);
    const script = `
      const { createFileWriter } = await import(${JSON.stringify(href)});
      const writer = createFileWriter();
      const write = (i) => writer.write({ finals: ["${folder.path}/f" + i], partials: ["${folder.path}/p" + i], sizes: [1], modes: [0o600], mtimes: [1] }, new Uint8Array(10));
      let i = 0;
      while (!(write(i++) instanceof Promise)) await new Promise((resolve) => setImmediate(resolve));
      console.log((await write(i)).left.length);
    `;
    const { status, stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8", timeout: 60_000 });
    assert.deepEqual([status, stdout], [0, "0\n"]);
  });
});
