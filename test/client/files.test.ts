/** Files that change, can't be read or can't be written, and bytes that arrive damaged. */
import { strict as assert } from "node:assert";
import fs from "node:fs";
import { dirname, join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { UploadStartSchema } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { createClient } from "../../src/client/client.ts";
import { LocalTree } from "../../src/client/local-tree.ts";
import { findFile, NOTHING_FOUND, PartialFile, partialName } from "../../src/client/partial-file.ts";
import { uploadMessages } from "../../src/client/upload-messages.ts";
import { walk } from "../../src/client/walk.ts";
import { crc32c } from "../../src/lib/crc32c.ts";
import type { UploadMessage } from "../../src/wire/messages.ts";
import { bytesOf, checkTree, makeTree } from "../support/tree.ts";
import { proxy } from "./proxy.ts";
import { clientAt, run, serve, type TempFolder, type TestClient, type TestServer, tempFolder } from "./support.ts";

const MIB = 1024 * 1024;
/** A user who may do nothing. */
const NOBODY = 65_534;

describe("files", () => {
  let folder: TempFolder;
  let server: TestServer;
  let client: TestClient;
  const path = (name: string) => join(folder.path, name);
  beforeEach(async () => {
    folder = tempFolder();
    server = await serve("memory:", folder.path);
    client = clientAt(server.url);
  });
  afterEach(async () => {
    await client.close();
    await server.close();
    folder[Symbol.dispose]();
  });

  describe("that change while they are read", () => {
    /** The messages of an upload. Each may change a file before the next batch is made; so may that a file was looked at and is to be read. */
    async function messagesOf(onMessage: (message: UploadMessage) => void, onLook = () => {}): Promise<UploadMessage[]> {
      function* looked() {
        for (const item of walk(path("d"), "", { symlinks: "follow", onSkipped() {} })) {
          if (item.type === "file") onLook();
          yield item;
        }
      }
      const start = create(UploadStartSchema, { uploadId: "0123456789abcdef" });
      const state = { tries: new Map<string, number>(), persisted: new Map(), onSent() {} };
      const all: UploadMessage[] = [];
      for await (const batch of uploadMessages(start, looked(), state)) {
        for (const message of batch) {
          all.push(message);
          onMessage(message);
        }
      }
      return all;
    }
    const headersOf = (messages: UploadMessage[]) => messages.flatMap((each) => (each.case === "file" ? [each.value] : []));
    const endsOf = (messages: UploadMessage[]) => messages.flatMap((each) => (each.case === "fileEnd" ? [each.value] : []));

    const CHANGES: Readonly<Record<string, (file: string) => void>> = {
      grow: (file) => fs.appendFileSync(file, "more"),
      shrink: (file) => fs.truncateSync(file, 2 * MIB + 1),
      "are written to": (file) => fs.utimesSync(file, 1e9, 1e9),
      "become empty": (file) => fs.truncateSync(file, 0),
    };
    for (const [name, change] of Object.entries(CHANGES)) {
      it(`and ${name} are read again, as a higher try`, async () => {
        makeTree(folder.path, [{ path: "d/a", size: 3 * MIB, seed: 1 }]);
        let changes = 0;
        const messages = await messagesOf((message) => {
          if (message.case === "chunk" && changes++ === 0) change(path("d/a"));
        });
        const bytes = fs.readFileSync(path("d/a"));
        assert.deepEqual(
          headersOf(messages).map((header) => [header.try, Number(header.size)]),
          [
            [0, 3 * MIB],
            [1, bytes.length],
          ],
        );
        assert.deepEqual(
          endsOf(messages).map((end) => [Number(end.size), end.crc32c]),
          [[bytes.length, crc32c(bytes)]],
        );
        const finish = messages.at(-1);
        assert.ok(finish?.case === "finish" && Number(finish.value.files) === 1 && Number(finish.value.bytes) === bytes.length);
      });
    }

    it("or don't, are sent as they are, whether one fills a batch, several share it, or it is too large for one", async () => {
      const sizes = [MIB, MIB - 1, MIB, MIB, 1, 0, MIB, 3 * MIB, MIB - 1, 2, MIB + 1, 700_000, 700_000, 700_000];
      makeTree(
        folder.path,
        sizes.map((size, i) => ({ path: `d/${String(i).padStart(2, "0")}`, size, seed: i })),
      );
      const crcs = new Map<string, number>();
      let name = "";
      const messages = await messagesOf((message) => {
        if (message.case === "file") name = message.value.path;
        if (message.case === "chunk") crcs.set(name, crc32c(message.value, crcs.get(name) ?? 0));
      });
      const ends = endsOf(messages);
      for (const [i, { path: sent }] of headersOf(messages).entries()) {
        const bytes = fs.readFileSync(path(`d/${sent}`));
        assert.deepEqual([Number(ends[i]?.size), ends[i]?.crc32c, crcs.get(sent) ?? 0], [bytes.length, crc32c(bytes), crc32c(bytes)], sent);
      }
      assert.equal(ends.length, sizes.length);
    });

    it("and change again are an error that names them", async () => {
      makeTree(folder.path, [{ path: "d/a", size: 3 * MIB, seed: 1 }]);
      const changing = messagesOf((message) => {
        if (message.case === "file") fs.appendFileSync(path("d/a"), "more");
      });
      await assert.rejects(changing, {
        name: "ArtifactsUploadError",
        message: `${path("d/a")} changed while it was read, twice: upload it when nothing writes to it`,
      });
    });

    it("before a small one is read: it is read as it is then", async () => {
      makeTree(folder.path, [
        { path: "d/a", size: 3 * MIB, seed: 1 },
        { path: "d/b", text: "old" },
      ]);
      let isFirst = true;
      const messages = await messagesOf((message) => {
        if (message.case === "chunk" && isFirst) fs.writeFileSync(path("d/b"), "newer");
        isFirst &&= message.case !== "chunk";
      });
      assert.equal(endsOf(messages).at(-1)?.crc32c, crc32c(Buffer.from("newer")));
    });

    for (const size of [100_000, 2 * MIB]) {
      it(`or, of ${size} bytes, vanish, or become a FIFO, between being looked at and being read, are an error that names them`, async () => {
        for (const replace of [() => {}, () => makeTree(folder.path, [{ path: "d/b", fifo: true }])]) {
          makeTree(folder.path, [{ path: "d/b", size, seed: 2 }]);
          const changing = messagesOf(
            () => {},
            () => {
              fs.rmSync(path("d/b"));
              replace();
            },
          );
          await assert.rejects(changing, (error: Error) => error.message.includes(path("d/b")));
          fs.rmSync(path("d/b"), { force: true });
        }
      });
    }
  });

  it("that can't be read are an error that names them", async () => {
    makeTree(folder.path, [
      { path: "d/secret", text: "x", mode: "000" },
      { path: "e/closed/x", text: "x" },
      { path: "e/closed/", mode: "000" },
    ]);
    fs.chmodSync(folder.path, 0o755);
    fs.chmodSync(path("server.sock"), 0o666);
    const user = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
    for (const [localPath, named] of [
      [path("d"), path("d/secret")],
      [path("e"), path("e/closed")],
      // Memory at address 0.
      ["/proc/self/mem", "/proc/self/mem"],
    ] as const) {
      const end = await run("upload", server.url, { localPath, artifactPath: "x", run: "r" }, user);
      assert.equal(end?.error?.name, "ArtifactsUploadError");
      assert.ok(end.error.message.startsWith(`${named} `), end.error.message);
    }
    fs.chmodSync(path("e/closed"), 0o700);
    await assert.rejects(client.run("r"), { name: "RunNotFoundError" });
  });

  it("that can't be written are an error that names them, and leave no half file", async () => {
    makeTree(folder.path, [
      { path: "d/a", text: "x" },
      { path: "d/b", size: 4 * MIB, seed: 1 },
      { path: "d/c", size: 400_000, seed: 2 },
    ]);
    await client.upload({ localPath: path("d"), artifactPath: "", run: "r" });
    const out = path("out");
    // Files may have 1 MiB; a full disk is told of by the same call.
    const end = await run("download", server.url, { run: "r", localPath: out }, { prelude: "trap '' XFSZ; ulimit -f 1024" });
    assert.equal(end?.error?.name, "ArtifactsDownloadError");
    assert.ok(end.error.message.startsWith(`${out}/b `), end.error.message);
    const found = fs.readdirSync(out).filter((name) => !name.endsWith(".partial"));
    assert.deepEqual(found, ["a"]);
    await client.download({ run: "r", localPath: out });
    checkTree(out, [
      { path: "a", text: "x" },
      { path: "b", size: 4 * MIB, seed: 1 },
      { path: "c", size: 400_000, seed: 2 },
    ]);
  });

  it("that are links to what is no UTF-8 can't be preserved, and are named", async () => {
    fs.mkdirSync(path("d"));
    fs.symlinkSync(Buffer.from([0x74, 0xff]), path("d/l"));
    const upload = client.upload({ localPath: path("d"), artifactPath: "", run: "r", symlinks: "preserve" });
    await assert.rejects(upload, { name: "ArtifactsUploadError", message: /d\/l" can't be uploaded: its target is not valid UTF-8/ });
  });

  describe("that arrive damaged", () => {
    for (const [times, ends] of [
      [1, true],
      [2, true],
      [3, false],
    ] as const) {
      it(`at the server ${times} times: ${ends ? "are sent again" : "are an error that names them, and nothing is seen"}`, async () => {
        makeTree(folder.path, [
          { path: "d/a", size: 500_000, seed: 1 },
          { path: "d/b", text: "x" },
        ]);
        await using between = await proxy(folder.path, server.url);
        await using through = clientAt(between.url);
        between.damage(bytesOf(1, 500_000).subarray(3000, 3032), times);
        const upload = through.upload({ localPath: path("d"), artifactPath: "", run: "r" });
        if (ends) {
          assert.equal((await upload).bytes, 500_001);
          await client.download({ run: "r", localPath: path("out") });
          checkTree(path("out"), [
            { path: "a", size: 500_000, seed: 1 },
            { path: "b", text: "x" },
          ]);
        } else {
          await assert.rejects(upload, { name: "ArtifactsUploadError", reason: "CHECKSUM_MISMATCH", message: /"a"/ });
          await assert.rejects(client.run("r"), { name: "RunNotFoundError" });
        }
      });
    }

    for (const [times, ends] of [
      [1, true],
      [2, false],
    ] as const) {
      for (const size of [500_000, 3 * MIB]) {
        it(`at the client ${times} times, of ${size} bytes: ${ends ? "are fetched again" : "are an error that names them, and not there"}`, async () => {
          await client.uploadBytes({ artifactPath: "a", source: bytesOf(1, size), run: "r" });
          await using between = await proxy(folder.path, server.url);
          await using through = clientAt(between.url);
          between.damage(bytesOf(1, size).subarray(3000, 3032), times);
          const download = through.download({ run: "r", localPath: path("out") });
          if (ends) await download;
          else await assert.rejects(download, { name: "ArtifactsDownloadError", message: /^"a" arrived damaged/ });
          checkTree(path("out"), ends ? [{ path: "a", size, seed: 1 }] : []);
        });
      }
    }

    it("at a reader are an error before its last byte", async () => {
      const bytes = bytesOf(1, 300_000);
      await client.uploadBytes({ artifactPath: "a", source: bytes, run: "r" });
      await using between = await proxy(folder.path, server.url);
      await using through = clientAt(between.url);
      for (const range of [undefined, { offset: 10, length: 250_000 }]) {
        between.damage(bytes.subarray(3000, 3032), 1);
        let got = 0;
        const reading = (async () => {
          for await (const part of through.read({ run: "r", artifactPath: "a", range })) got += part.length;
        })();
        await assert.rejects(reading, { name: "ArtifactsDownloadError", message: /arrived damaged/ });
        assert.ok(got < (range?.length ?? bytes.length));
      }
    });
  });

  describe("of a download", () => {
    const wanted = { path: "a", size: 2 * MIB, crc32c: crc32c(bytesOf(1, 2 * MIB)) };
    beforeEach(() => client.uploadBytes({ artifactPath: "a", source: bytesOf(1, 2 * MIB), run: "r" }));

    it("are not written through a second name or a link that their partial file has", async () => {
      const secret = path("secret");
      const partial = path(`out/${partialName(wanted)}`);
      for (const plant of [
        () => fs.linkSync(secret, partial),
        () => fs.symlinkSync(secret, partial),
        () => fs.symlinkSync(path("new"), partial),
      ]) {
        fs.writeFileSync(secret, "kept");
        fs.mkdirSync(dirname(partial), { recursive: true });
        plant();
        await client.download({ run: "r", localPath: path("out") });
        assert.equal(fs.readFileSync(secret, "utf8"), "kept");
        assert.ok(!fs.existsSync(path("new")));
        checkTree(path("out"), [{ path: "a", size: 2 * MIB, seed: 1 }]);
        fs.rmSync(path("out"), { recursive: true });
      }
    });

    for (const [what, act] of [
      ["is finished by another download", (partial, final) => fs.renameSync(partial, final)],
      [
        "is finished whole",
        (partial, final) => {
          fs.writeFileSync(partial, bytesOf(1, 2 * MIB));
          fs.renameSync(partial, final);
        },
      ],
      ["is taken away", (partial) => fs.rmSync(partial)],
      [
        "makes way for a new one",
        (partial) => {
          fs.rmSync(partial);
          fs.writeFileSync(partial, bytesOf(1, 1000));
        },
      ],
    ] as const satisfies readonly (readonly [string, (partial: string, final: string) => void])[]) {
      it(`come again if the partial file ${what} before it is gone on with`, async () => {
        const partial = path(`out/${partialName(wanted)}`);
        fs.mkdirSync(dirname(partial));
        fs.writeFileSync(partial, bytesOf(1, MIB));
        let told = 0;
        // The first time when the file is begun.
        await client.download({ run: "r", localPath: path("out"), onProgress: () => ++told === 1 && act(partial, path("out/a")) });
        checkTree(path("out"), [{ path: "a", size: 2 * MIB, seed: 1 }]);
        assert.deepEqual(fs.readdirSync(path("out")), ["a"], "nothing is left behind");
      });

      it(`are right or not there if the partial file ${what} while it is written`, async () => {
        const file = new PartialFile(path("a"), { ...wanted, mode: undefined, mtimeNs: undefined }, NOTHING_FOUND);
        await file.write([bytesOf(1, MIB)]);
        await file.write([bytesOf(1, 2 * MIB).subarray(MIB)]);
        act(path(partialName(wanted)), path("a"));
        const isFinished = fs.existsSync(path("a"));
        if (isFinished) await file.finish();
        else await assert.rejects(file.finish(), { name: "ArtifactsDownloadError", message: /partial file was removed or replaced/ });
        assert.equal(fs.existsSync(path("a")), isFinished);
        if (isFinished) assert.deepEqual(fs.readFileSync(path("a")), Buffer.from(bytesOf(1, 2 * MIB)));
      });
    }

    it("are not gone on with if their partial file got a second name since it was found", async () => {
      const file = { ...wanted, mode: undefined, mtimeNs: undefined };
      fs.writeFileSync(path(partialName(wanted)), bytesOf(1, MIB));
      const found = await findFile(path("a"), file, undefined);
      fs.linkSync(path(partialName(wanted)), path("second"));
      assert.throws(() => new PartialFile(path("a"), file, found), { name: "ArtifactsDownloadError" });
      assert.deepEqual(fs.readFileSync(path("second")), Buffer.from(bytesOf(1, MIB)));
    });

    it("are not written to any more once another download finished them", async () => {
      const file = new PartialFile(path("a"), { ...wanted, mode: undefined, mtimeNs: undefined }, NOTHING_FOUND);
      await file.write([bytesOf(1, MIB)]);
      await file.leave();
      fs.renameSync(path(partialName(wanted)), path("a"));
      fs.writeFileSync(path("a"), "mine by now");
      await assert.rejects(file.write([bytesOf(1, 1000)]), { name: "ArtifactsDownloadError" });
      await assert.rejects(file.finish(), { name: "ArtifactsDownloadError" });
      assert.equal(fs.readFileSync(path("a"), "utf8"), "mine by now");
    });

    for (const [what, put] of [
      ["changed", (held) => fs.writeFileSync(held, bytesOf(2, 1000))],
      ["replaced", (held) => fs.writeFileSync(held, "longer")],
      ["taken away", () => {}],
      ["made a link", (held) => fs.symlinkSync("/dev/null", held)],
      ["made again as they are", (held) => fs.writeFileSync(held, bytesOf(1, 1000))],
    ] as const satisfies readonly (readonly [string, (held: string) => void])[]) {
      const act = (held: string) => {
        if (what !== "changed") fs.rmSync(held);
        put(held);
      };
      it(`that were there, and are ${what} during it, are those of the run in the end`, async () => {
        await client.uploadBytes({ artifactPath: "b", source: bytesOf(1, 1000), run: "r" });
        fs.mkdirSync(path("out"));
        fs.writeFileSync(path("out/b"), bytesOf(1, 1000));
        let told = 0;
        // The first time when `a` is begun, which comes before.
        await client.download({ run: "r", localPath: path("out"), onProgress: () => void (++told === 1 && act(path("out/b"))) });
        checkTree(path("out"), [
          { path: "a", size: 2 * MIB, seed: 1 },
          { path: "b", size: 1000, seed: 1 },
        ]);
      });
    }

    it("of another user are replaced where something is to be set, and stay where nothing is", async () => {
      makeTree(folder.path, [
        { path: "d/same", text: "s", mode: "644", mtime_ns: "1600000000123000000" },
        { path: "d/other", text: "o", mode: "600" },
      ]);
      await client.upload({ localPath: path("d"), artifactPath: "", run: "owned" });
      fs.mkdirSync(path("out"));
      await client.download({ run: "owned", localPath: path("out") });
      fs.chmodSync(path("out/other"), 0o644);
      fs.chmodSync(folder.path, 0o755);
      fs.chmodSync(path("server.sock"), 0o666);
      const user = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
      if (user.uid !== undefined) fs.chownSync(path("out"), NOBODY, NOBODY);
      const inodes = () => ["same", "other"].map((name) => fs.statSync(path(`out/${name}`)).ino);
      const before = inodes();
      const end = await run("download", server.url, { run: "owned", localPath: path("out") }, user);
      assert.equal(end?.error, undefined);
      if (user.uid !== undefined) assert.deepEqual([inodes()[0] === before[0], inodes()[1] === before[1]], [true, false]);
      checkTree(path("out"), [
        { path: "same", text: "s", mode: "644", mtime_ns: "1600000000123000000" },
        { path: "other", text: "o", mode: "600" },
      ]);
    });

    it("go on into a folder that its owner may not search", async () => {
      makeTree(folder.path, [
        { path: "d/sub/e/f", text: "x" },
        { path: "d/sub/", mode: "600" },
      ]);
      await client.upload({ localPath: path("d"), artifactPath: "", run: "closed" });
      fs.mkdirSync(path("out"));
      fs.chmodSync(folder.path, 0o755);
      fs.chmodSync(path("server.sock"), 0o666);
      const user = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
      if (user.uid !== undefined) fs.chownSync(path("out"), NOBODY, NOBODY);
      for (let i = 0; i < 2; i++) {
        const end = await run("download", server.url, { run: "closed", localPath: path("out") }, user);
        assert.equal(end?.error, undefined);
      }
      assert.equal(fs.statSync(path("out/sub")).mode & 0o777, 0o600);
    });

    it("go on into a folder that another download closed meanwhile", () => {
      const tree = new LocalTree(path("out"));
      const place = tree.place("d/f");
      tree.addFolder("d", 0o500);
      fs.chmodSync(path("out/d"), 0o500);
      let tries = 0;
      const write = () => {
        // As root nothing is forbidden.
        if (tries++ === 0) throw Object.assign(new Error("forbidden"), { code: "EACCES" });
        fs.writeFileSync(place, "x");
      };
      tree.inFolder(place, write);
      tree.finish();
      checkTree(path("out"), [
        { path: "d/f", text: "x" },
        { path: "d/", mode: "500" },
      ]);
      const top = tree.place("f");
      fs.chmodSync(path("out"), 0o500);
      const refuse = () => {
        throw Object.assign(new Error("forbidden"), { code: "EACCES" });
      };
      assert.throws(() => tree.inFolder(top, refuse), /forbidden/);
      assert.equal(fs.statSync(path("out")).mode & 0o777, 0o500, "the folder that the user named stays as it is");
    });

    it("leave folders the run's modes, in the working directory too", async () => {
      makeTree(folder.path, [
        { path: "d/a/b/f", text: "x" },
        { path: "d/a/b/", mode: "755" },
        { path: "d/a/", mode: "755" },
      ]);
      await client.upload({ localPath: path("d"), artifactPath: "", run: "dot" });
      fs.mkdirSync(path("out/a/b"), { recursive: true });
      fs.chmodSync(path("out/a/b"), 0o555);
      fs.chmodSync(path("out/a"), 0o555);
      const before = process.cwd();
      process.chdir(path("out"));
      try {
        await client.download({ run: "dot" });
      } finally {
        process.chdir(before);
      }
      for (const name of ["a", "a/b"]) assert.equal(fs.statSync(path(`out/${name}`)).mode & 0o777, 0o755, name);
    });

    it("are not taken for what was asked for if they have a second name", async () => {
      fs.mkdirSync(path("out"));
      fs.writeFileSync(path("mine"), bytesOf(1, 2 * MIB), { mode: 0o600 });
      fs.linkSync(path("mine"), path("out/a"));
      await client.download({ run: "r", localPath: path("out") });
      assert.equal(fs.statSync(path("mine")).mode & 0o777, 0o600);
      assert.equal(fs.statSync(path("mine")).nlink, 1);
      checkTree(path("out"), [{ path: "a", size: 2 * MIB, seed: 1 }]);
    });

    it("may be wanted by several downloads into one folder at once", async () => {
      const files = [
        ...Array.from({ length: 60 }, (_, i) => ({ path: `${i % 5}/${i}`, size: 1000 * i, seed: i })),
        ...Array.from({ length: 60 }, (_, i) => ({ path: `${i % 5}/link-${i}`, link: `${i}` })),
        { path: "big", size: 4 * MIB, seed: 1 },
      ];
      makeTree(
        folder.path,
        files.map((file) => ({ ...file, path: `d/${file.path}` })),
      );
      await client.upload({ localPath: path("d"), artifactPath: "", run: "many", symlinks: "preserve" });
      const others = Array.from({ length: 3 }, () => createClient({ url: server.url, env: {} }));
      const results = await Promise.all(others.map((each) => each.download({ run: "many", localPath: path("out") })));
      for (const { files: count } of results) assert.equal(count, files.length);
      for (const each of others) await each.close();
      checkTree(path("out"), files);
    });

    it("are of the commit that was the newest when it began, whatever is uploaded meanwhile", async () => {
      fs.mkdirSync(path("out"));
      fs.writeFileSync(path("out/other"), "x");
      await using between = await proxy(folder.path, server.url);
      await using through = clientAt(between.url);
      let uploading: Promise<unknown> | undefined;
      between.onBytes = (_, received) => {
        // After the first answer, before what is there was looked at.
        if (received > 0) uploading ??= client.uploadBytes({ artifactPath: "a", source: "newer", run: "r" });
      };
      const { commit } = await through.download({ run: "r", localPath: path("out") });
      await uploading;
      assert.equal(commit, 1);
      checkTree(path("out"), [
        { path: "a", size: 2 * MIB, seed: 1 },
        { path: "other", text: "x" },
      ]);
    });

    it("of more pages than one are each looked for, and only what is missing comes", async () => {
      const files = Array.from({ length: 4_500 }, (_, i) => ({ path: `d/${String(i).padStart(5, "0")}`, text: `${i}` }));
      makeTree(folder.path, files);
      await client.upload({ localPath: path("d"), artifactPath: "", run: "pages" });
      await client.download({ run: "pages", localPath: path("out") });
      for (const name of ["00007", "02100", "04400"]) fs.rmSync(path(`out/${name}`));
      fs.writeFileSync(path("out/00008"), "9");
      const { files: count } = await client.download({ run: "pages", localPath: path("out") });
      assert.equal(count, files.length);
      checkTree(
        path("out"),
        files.map(({ path: each, text }) => ({ path: each.slice(2), text })),
      );
    });

    it("whose mode was changed in a newer commit, and its folder's, get the newer ones", async () => {
      makeTree(folder.path, [
        { path: "d/sub/x", text: "x", mode: "600" },
        { path: "d/sub/", mode: "500" },
      ]);
      await client.upload({ localPath: path("d"), artifactPath: "", run: "modes" });
      await client.download({ run: "modes", localPath: path("out") });
      makeTree(folder.path, [
        { path: "d/sub/x", text: "x", mode: "644" },
        { path: "d/sub/", mode: "755" },
      ]);
      await client.upload({ localPath: path("d"), artifactPath: "", run: "modes" });
      await client.download({ run: "modes", localPath: path("out") });
      checkTree(path("out"), [
        { path: "sub/x", text: "x", mode: "644" },
        { path: "sub/", mode: "755" },
      ]);
    });
  });
});
