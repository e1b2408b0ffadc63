/** Connections that break, servers that restart and clients that die: what was acknowledged is there, what wasn't is not, and nothing is sent twice. */
import { strict as assert } from "node:assert";
import fs from "node:fs";
import { join } from "node:path";
import { ArtifactsUploadError } from "../../src/client/errors.ts";
import { bytesOf, checkTree, makeTree, type TreeEntry } from "../support/tree.ts";
import { proxy } from "./proxy.ts";
import { clientAt, OBJECT_BYTES, run, serve, type TempFolder, tempFolder } from "./support.ts";

const MIB = 1024 * 1024;
const TREE: TreeEntry[] = [
  { path: "big", size: 9 * MIB + 5, seed: 1, mode: "640", mtime_ns: "1700000000123456789" },
  { path: "d/small", text: "s", mode: "600" },
  { path: "d/void/", mode: "700" },
  { path: "z", size: MIB, seed: 2 },
];
const BYTES = 10 * MIB + 6;
/** What is on its way when a connection breaks: buffers of sockets, and of proxies. */
const UNDER_WAY_BYTES = 3 * MIB;

describe("interruptions", () => {
  let folder: TempFolder;
  let local: string;
  let out: string;
  const path = (name: string) => join(folder.path, name);
  const store = () => `file://${path("store")}`;
  beforeEach(() => {
    folder = tempFolder();
    local = path("local");
    out = path("out");
    makeTree(local, TREE);
  });
  afterEach(() => folder[Symbol.dispose]());

  for (const share of [0.01, 0.4, 0.8, 0.999]) {
    it(`an upload whose client is killed after ${share * 100} % leaves nothing visible, and another client finishes it`, async () => {
      await using server = await serve(store(), folder.path);
      await using between = await proxy(folder.path, server.url);
      await using client = clientAt(server.url);
      const options = { localPath: local, artifactPath: "", run: "r", uploadId: "0123456789abcdef" };
      const end = await run("upload", between.url, options, {
        onStart(child) {
          between.onBytes = (sent) => {
            if (sent >= share * BYTES) child.kill("SIGKILL");
          };
        },
      });
      assert.equal(end, undefined, "the client was not killed");
      // By the last byte it may have been all there.
      const seen = await client.run("r").catch((error) => error.name);
      if (share < 0.9) assert.equal(seen, "RunNotFoundError");
      const result = await client.upload(options);
      assert.deepEqual({ commit: result.commit, files: result.files, bytes: result.bytes }, { commit: 1, files: 3, bytes: BYTES });
      await client.download({ run: "r", localPath: out });
      checkTree(out, TREE);
      assert.deepEqual(await client.uploads(), []);
    });
  }

  it("goes on with what another client left, by its id alone, and sends only what is missing", async () => {
    await using server = await serve(store(), folder.path);
    await using between = await proxy(folder.path, server.url);
    await using client = clientAt(between.url, { timeoutMs: 300 });
    between.onBytes = (sent) => {
      if (sent > 8 * MIB) between.cut();
    };
    const failure = await client.upload({ localPath: local, artifactPath: "", tag: "t" }).catch((error) => error);
    assert.ok(failure instanceof ArtifactsUploadError, String(failure));
    assert.match(failure.message, /went away|no server/);
    between.onBytes = () => {};
    const [open] = await client.uploads();
    assert.deepEqual([open?.id, open?.tag], [failure.uploadId, "t"]);
    await assert.rejects(client.upload({ localPath: local, artifactPath: "", run: "other", resume: open?.id }), /was begun for tag "t"/);
    const before = between.sent;
    const result = await client.upload({ localPath: local, artifactPath: "", resume: open?.id });
    assert.deepEqual([result.tag, result.run, result.commit, result.bytes], ["t", open?.run, 1, BYTES]);
    assert.ok(
      between.sent - before < BYTES - 8 * MIB + UNDER_WAY_BYTES + 4 * OBJECT_BYTES,
      `${between.sent - before} bytes were sent again`,
    );
    await client.download({ tag: "t", localPath: out });
    checkTree(out, TREE);
  });

  it("begins a file anew that changed since it was persisted", async () => {
    await using server = await serve(store(), folder.path);
    await using client = clientAt(server.url);
    const options = { localPath: local, artifactPath: "", run: "r", uploadId: "0123456789abcdef" };
    await using between = await proxy(folder.path, server.url);
    await run("upload", between.url, options, {
      onStart(child) {
        between.onBytes = (sent) => {
          if (sent >= 0.9 * BYTES) child.kill("SIGKILL");
        };
      },
    });
    assert.equal((await client.uploads()).length, 1);
    const changed = TREE.map((each) => (each.path === "big" ? { ...each, seed: 7, mtime_ns: "1700000001000000000" } : each));
    makeTree(local, changed);
    await client.upload(options);
    await client.download({ run: "r", localPath: out });
    checkTree(out, changed);
  });

  it("takes an upload up again over connections that keep breaking, each time from where it was", async () => {
    await using server = await serve(store(), folder.path);
    await using between = await proxy(folder.path, server.url);
    await using client = clientAt(between.url);
    let next = 3 * MIB;
    between.onBytes = (sent) => {
      if (sent < next) return;
      next += 7 * MIB;
      between.cut();
    };
    const result = await client.upload({ localPath: local, artifactPath: "", run: "r" });
    assert.deepEqual([result.commit, result.files, result.bytes], [1, 3, BYTES]);
    assert.ok(next > 10 * MIB, "the connection broke once at most");
    await client.download({ run: "r", localPath: out });
    checkTree(out, TREE);
  });

  it("takes a download up again over connections that keep breaking, and fetches no byte twice that it has", async () => {
    await using server = await serve(store(), folder.path);
    await using between = await proxy(folder.path, server.url);
    await using client = clientAt(between.url);
    await client.upload({ localPath: local, artifactPath: "", run: "r" });
    const before = between.received;
    let next = before + 2 * MIB;
    let breaks = 0;
    between.onBytes = (_, received) => {
      if (received < next) return;
      next += 3 * MIB;
      breaks++;
      between.cut();
    };
    const result = await client.download({ run: "r", localPath: out });
    assert.deepEqual([result.files, result.bytes], [3, BYTES]);
    assert.ok(breaks >= 3, `the connection broke ${breaks} times`);
    // What was under way when the connection broke comes again.
    assert.ok(between.received - before < BYTES + (breaks + 1) * UNDER_WAY_BYTES, `${between.received - before} bytes came`);
    checkTree(out, TREE);
  });

  it("a download whose client is killed leaves no half file under its name, and the next goes on", async () => {
    await using server = await serve(store(), folder.path);
    await using between = await proxy(folder.path, server.url);
    await using client = clientAt(between.url);
    await client.upload({ localPath: local, artifactPath: "", run: "r" });
    const begin = between.received;
    await run(
      "download",
      between.url,
      { run: "r", localPath: out },
      {
        onStart(child) {
          between.onBytes = (_, received) => {
            if (received - begin > 6 * MIB) child.kill("SIGKILL");
          };
        },
      },
    );
    const found = fs.readdirSync(out);
    assert.ok(!found.includes("z"), "z came after big");
    assert.match(found.join(" "), /^\.[0-9a-f]{32}\.partial$/);
    const before = between.received;
    const result = await client.download({ run: "r", localPath: out });
    assert.equal(result.bytes, BYTES);
    assert.ok(between.received - before < BYTES - 6 * MIB + UNDER_WAY_BYTES, `${between.received - before} bytes came again`);
    checkTree(out, TREE);
  });

  it("a server that restarts in the middle of an upload and of a download costs time alone", async () => {
    let server = await serve(store(), folder.path);
    await using between = await proxy(folder.path, server.url);
    await using client = clientAt(between.url);
    let restarting: Promise<void> | undefined;
    const restart = async () => {
      await server.close();
      server = await serve(store(), folder.path);
    };
    try {
      between.onBytes = (sent) => {
        if (sent > 5 * MIB) restarting ??= restart();
      };
      await client.upload({ localPath: local, artifactPath: "", run: "r" });
      await restarting;
      assert.ok(restarting, "the server was not restarted");
      restarting = undefined;
      const before = between.received;
      between.onBytes = (_, received) => {
        if (received - before > 5 * MIB) restarting ??= restart();
      };
      await client.download({ run: "r", localPath: out });
      assert.ok(restarting, "the server was not restarted");
      await restarting;
    } finally {
      await server.close();
    }
    checkTree(out, TREE);
  });

  it("gives up when nothing gets ahead for as long as it was told", async () => {
    await using server = await serve(store(), folder.path);
    await using between = await proxy(folder.path, server.url);
    await using client = clientAt(between.url, { timeoutMs: 400 });
    await client.upload({ localPath: local, artifactPath: "", run: "r" });
    const before = between.received;
    between.onBytes = (_, received) => {
      if (received - before > 4 * MIB) between.cut();
    };
    const begin = performance.now();
    await assert.rejects(client.download({ run: "r", localPath: out }), (error: Error) => {
      assert.equal(error.name, "ArtifactsDownloadError");
      assert.match(error.message, /the server at unix:.* went away/);
      return true;
    });
    assert.ok(performance.now() - begin >= 400);
  });

  it("a stream can't be read again, and says so", async () => {
    await using server = await serve(store(), folder.path);
    await using between = await proxy(folder.path, server.url);
    await using client = clientAt(between.url);
    between.onBytes = (sent) => {
      if (sent < MIB) return;
      between.onBytes = () => {};
      between.cut();
    };
    async function* stream() {
      for (let i = 0; i < 64; i++) yield bytesOf(0, 64 * 1024);
    }
    await assert.rejects(client.uploadBytes({ artifactPath: "a", source: stream(), run: "r" }), /a stream can't be read again/);
  });

  it("bytes are sent again", async () => {
    await using server = await serve(store(), folder.path);
    await using between = await proxy(folder.path, server.url);
    await using client = clientAt(between.url);
    between.onBytes = (sent) => {
      if (sent < 3 * MIB) return;
      between.onBytes = () => {};
      between.cut();
    };
    const bytes = bytesOf(5, 5 * MIB);
    assert.equal((await client.uploadBytes({ artifactPath: "a", source: bytes, run: "r" })).bytes, 5 * MIB);
    const parts = [];
    for await (const part of client.read({ run: "r", artifactPath: "a" })) parts.push(part);
    assert.ok(Buffer.concat(parts).equals(bytes));
  });

  it("a reader goes on where its connection broke, and gives each byte once", async () => {
    await using server = await serve(store(), folder.path);
    await using between = await proxy(folder.path, server.url);
    await using client = clientAt(between.url);
    const bytes = bytesOf(6, 8 * MIB);
    await client.uploadBytes({ artifactPath: "a", source: bytes, run: "r" });
    for (const range of [undefined, { offset: 3 }, { offset: 5, length: 7 * MIB }]) {
      let next = between.received + 3 * MIB;
      between.onBytes = (_, received) => {
        if (received < next) return;
        next += 4 * MIB;
        between.cut();
      };
      const parts = [];
      for await (const part of client.read({ run: "r", artifactPath: "a", range })) parts.push(part);
      const { offset = 0, length = bytes.length } = range ?? {};
      assert.ok(Buffer.concat(parts).equals(bytes.subarray(offset, offset + length)));
    }
  });
});
