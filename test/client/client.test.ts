/** How the client speaks with its server and its caller: first contact, cancelling, streams, settings. */
import { strict as assert } from "node:assert";
import { execFile } from "node:child_process";
import fs from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { promisify } from "node:util";
import { DAMAGED_FILE_FETCHES } from "../../src/client/download.ts";
import { DstackError } from "../../src/client/errors.ts";
import { FIRST_WAIT_MS, LONGEST_WAIT_MS, WAIT_FACTOR } from "../../src/client/retry.ts";
import { readSettings } from "../../src/client/settings.ts";
import { DAMAGED_FILE_SENDS } from "../../src/client/upload.ts";
import { CHANGING_FILE_READS } from "../../src/client/upload-messages.ts";
import { artifacts } from "../../src/index.ts";
import { parseTokens } from "../../src/server/tokens.ts";
import { makeCertificate } from "../support/certificates.ts";
import { bytesOf } from "../support/tree.ts";
import { bytesFrom, clientAt, run, serve, type TempFolder, type TestClient, type TestServer, tempFolder } from "./support.ts";

const MIB = 1024 * 1024;

/** Everything that a client can be asked for first. */
const CALLS: Readonly<
  Record<string, { class: string; act: (client: TestClient, local: string, signal?: AbortSignal) => Promise<unknown> }>
> = {
  upload: {
    class: "ArtifactsUploadError",
    act: (client, localPath, signal) => client.upload({ localPath, artifactPath: "", run: "r", signal }),
  },
  "upload with a tag": {
    class: "ArtifactsUploadError",
    act: (client, localPath, signal) => client.upload({ localPath, artifactPath: "", tag: "u", signal }),
  },
  "upload that goes on": {
    class: "ArtifactsUploadError",
    act: (client, localPath, signal) => client.upload({ localPath, artifactPath: "", uploadId: "0123456789abcdef", signal }),
  },
  uploadBytes: {
    class: "ArtifactsUploadError",
    act: (client, _, signal) => client.uploadBytes({ artifactPath: "x", source: "x", run: "r", signal }),
  },
  download: {
    class: "ArtifactsDownloadError",
    act: (client, local, signal) => client.download({ run: "r", localPath: join(local, "out"), signal }),
  },
  read: { class: "ArtifactsDownloadError", act: (client, _, signal) => bytesFrom(client.read({ run: "r", artifactPath: "a", signal })) },
  list: { class: "DstackError", act: (client, _, signal) => client.list({ run: "r", signal }) },
  runs: { class: "DstackError", act: (client, _, signal) => client.runs({ signal }) },
  run: { class: "DstackError", act: (client, _, signal) => client.run("r", { signal }) },
  deleteRun: { class: "DstackError", act: (client, _, signal) => client.deleteRun("r2", { signal }) },
  tags: { class: "DstackError", act: (client, _, signal) => client.tags({ signal }) },
  tag: { class: "DstackError", act: (client, _, signal) => client.tag("t", { signal }) },
  createTag: { class: "DstackError", act: (client, _, signal) => client.createTag("t2", { run: "r", signal }) },
  deleteTag: { class: "DstackError", act: (client, _, signal) => client.deleteTag("t", { signal }) },
  copy: { class: "DstackError", act: (client, _, signal) => client.copy({ run: "r", toRun: "c", signal }) },
  verify: { class: "DstackError", act: (client, _, signal) => client.verify({ run: "r", signal }) },
  collectGarbage: { class: "DstackError", act: (client, _, signal) => client.collectGarbage({ dryRun: true, signal }) },
  uploads: { class: "DstackError", act: (client, _, signal) => client.uploads({ signal }) },
  abortUpload: { class: "DstackError", act: (client, _, signal) => client.abortUpload("0123456789abcdef", { signal }) },
};

describe("the client", () => {
  let folder: TempFolder;
  let server: TestServer;
  let client: TestClient;
  let local: string;
  before(async () => {
    folder = tempFolder();
    local = join(folder.path, "local");
    fs.mkdirSync(local);
    fs.writeFileSync(join(local, "a"), "abc");
    server = await serve("memory:", folder.path);
    client = clientAt(server.url);
    await client.upload({ localPath: local, artifactPath: "", run: "r" });
    await client.createTag("t", { run: "r" });
  });
  after(async () => {
    await client.close();
    await server.close();
    folder[Symbol.dispose]();
  });

  describe("at first contact", () => {
    for (const [name, { class: expected, act }] of Object.entries(CALLS)) {
      it(`${name} says at once that there is no server`, async () => {
        const url = `unix://${folder.path}/nobody.sock`;
        await using nobody = clientAt(url, { timeoutMs: 600_000 });
        await assert.rejects(act(nobody, local), (error: Error) => {
          assert.equal(error.name, expected);
          assert.equal(error.message, `no server at ${url}: start one with \`dstack-artifacts serve\``);
          return true;
        });
        assert.ok(!fs.existsSync(join(local, "out")));
      });
    }

    it("a port that nobody listens at is no server either", async () => {
      const free = createServer().listen(0, "127.0.0.1");
      await new Promise((resolve) => free.once("listening", resolve));
      const { port } = free.address() as { port: number };
      await new Promise((resolve) => free.close(resolve));
      await using nobody = clientAt(`http://127.0.0.1:${port}`);
      await assert.rejects(nobody.runs(), { message: `no server at http://127.0.0.1:${port}: start one with \`dstack-artifacts serve\`` });
    });

    it("something that doesn't speak HTTP/2 is told apart", async () => {
      const other = createServer((socket) => socket.end("HTTP/1.0 400 Bad Request\r\n\r\n")).listen(join(folder.path, "other.sock"));
      await using confused = clientAt(`unix://${folder.path}/other.sock`, { timeoutMs: 300 });
      await assert.rejects(confused.runs(), /^DstackError: (no connection to a|the) server at unix:/);
      other.close();
    });

    it("a client of a server that was there, and is no more, says so at once as well", async () => {
      using other = tempFolder();
      const gone = await serve("memory:", other.path);
      await using late = clientAt(gone.url, { timeoutMs: 600_000 });
      await late.runs();
      await gone.close();
      // The client sees in the next turns that the connection has ended. Found out by a call, it would be tried again.
      for (let i = 0; i < 10; i++) await turn();
      await assert.rejects(late.runs(), /no server at/);
      await assert.rejects(late.upload({ localPath: local, run: "r", artifactPath: "" }), /no server at/);
    });
  });

  describe("cancelling", () => {
    for (const [name, { act }] of Object.entries(CALLS)) {
      it(`${name} rejects with the reason of a signal that is aborted already`, async () => {
        const reason = new Error("not wanted");
        await assert.rejects(act(client, local, AbortSignal.abort(reason)), (error) => error === reason);
      });
    }

    it("an upload ends in the middle, with the signal's reason, and nothing is seen of it", async () => {
      const controller = new AbortController();
      async function* endless() {
        for (let i = 0; ; i++) {
          yield bytesOf(0, 64 * 1024);
          if (i === 50) controller.abort();
        }
      }
      const { signal } = controller;
      await assert.rejects(client.uploadBytes({ artifactPath: "a", source: endless(), run: "cancelled", signal }), (error) => {
        return error === signal.reason && (error as Error).name === "AbortError";
      });
      await assert.rejects(client.run("cancelled"), { name: "RunNotFoundError" });
    });

    it("an upload whose source never gives a byte ends as well", async () => {
      const controller = new AbortController();
      async function* stuck(): AsyncGenerator<Uint8Array> {
        controller.abort();
        await new Promise(() => {});
      }
      const { signal } = controller;
      await assert.rejects(
        client.uploadBytes({ artifactPath: "a", source: stuck(), run: "cancelled", signal }),
        (error) => error === signal.reason,
      );
    });

    it("a download ends in the middle and can be gone on with", async () => {
      await client.uploadBytes({ artifactPath: "big", source: bytesOf(1, 9 * MIB), run: "big" });
      const controller = new AbortController();
      const { signal } = controller;
      const out = join(folder.path, "cancelled");
      const onProgress = () => controller.abort("enough");
      await assert.rejects(client.download({ run: "big", localPath: out, signal, onProgress }), (error) => error === "enough");
      assert.ok(!fs.existsSync(join(out, "big")));
      await client.download({ run: "big", localPath: out });
      assert.ok(fs.readFileSync(join(out, "big")).equals(bytesOf(1, 9 * MIB)));
      assert.deepEqual(fs.readdirSync(out), ["big"]);
    });

    it("leaving a reader ends its call", async () => {
      for await (const part of client.read({ run: "big", artifactPath: "big" })) {
        assert.ok(part.length > 0);
        break;
      }
      assert.equal((await client.run("big")).files, 1);
    });
  });

  describe("uploads by their ids", () => {
    it("one that was committed gives its result again, and no second commit", async () => {
      const options = { localPath: local, artifactPath: "", run: "once", uploadId: "once-0123456789abcdef" };
      const first = await client.upload(options);
      assert.deepEqual(await client.upload(options), first);
      assert.equal((await client.run("once")).commits, 1);
    });

    it("one that never was can't be gone on with", async () => {
      const upload = client.upload({ localPath: local, artifactPath: "", resume: "never-0123456789abcdef" });
      await assert.rejects(upload, { name: "ArtifactsUploadError", reason: "UPLOAD_NOT_FOUND", uploadId: undefined });
    });

    it("one that was aborted can't either", async () => {
      const uploadId = "aborted-0123456789abcdef";
      async function* half() {
        yield bytesOf(0, MIB);
        throw new Error("half");
      }
      await assert.rejects(client.uploadBytes({ artifactPath: "x", source: half(), run: "r", uploadId }), /half/);
      const isOpen = async () => (await client.uploads()).some(({ id }) => id === uploadId);
      assert.ok(await isOpen());
      await client.abortUpload(uploadId);
      assert.ok(!(await isOpen()));
      for (const options of [{ uploadId }, { resume: uploadId }])
        await assert.rejects(client.uploadBytes({ artifactPath: "x", source: "x", run: "r", ...options }), { reason: "UPLOAD_GONE" });
    });

    it("of uploads that make one tag at once, one wins, and the losers leave no run behind", async () => {
      const runs = (await client.runs()).length;
      const all = await Promise.allSettled(
        Array.from({ length: 8 }, () => client.upload({ localPath: local, artifactPath: "", tag: "race" })),
      );
      const errors = all.flatMap((each) => (each.status === "rejected" ? [each.reason as DstackError] : []));
      assert.equal(errors.length, 7);
      for (const error of errors) assert.deepEqual([error.name, error.message], ["ArtifactsUploadError", 'tag "race" already exists']);
      assert.equal((await client.runs()).length, runs + 1);
    });
  });

  describe("progress", () => {
    it("grows, and ends with all", async () => {
      for (let i = 0; i < 5; i++) fs.writeFileSync(join(local, `${i}`), bytesOf(i, MIB));
      const total = 5 * MIB + 3;
      for (const transfer of [
        (onProgress: (progress: object) => void) => client.upload({ localPath: local, artifactPath: "", run: "progress", onProgress }),
        (onProgress: (progress: object) => void) => client.download({ run: "progress", localPath: join(folder.path, "p"), onProgress }),
      ]) {
        const told: { files: number; bytes: number }[] = [];
        await transfer((progress) => told.push({ ...(progress as { files: number; bytes: number }) }));
        assert.deepEqual(told.at(-1), { files: 6, bytes: total, totalFiles: 6, totalBytes: total });
        for (const [i, { bytes }] of told.entries()) assert.ok(bytes >= (told[i - 1]?.bytes ?? 0) && bytes <= total);
      }
    });
  });

  describe("where a person looks", () => {
    /** What a terminal shows of an upload by the library. */
    async function shown(options: object, more: object = {}): Promise<string> {
      const code = `const { createClient } = await import(${JSON.stringify(new URL("../../src/index.ts", import.meta.url).href)});
        await createClient(${JSON.stringify({ url: server.url, ...more })}).upload(${JSON.stringify(options)});`;
      const file = join(folder.path, "terminal.mjs");
      fs.writeFileSync(file, code);
      const { stdout } = await promisify(execFile)("script", ["-qec", `${process.execPath} ${file}`, "/dev/null"]);
      return stdout;
    }

    it("progress is shown, unless it isn't wanted", async () => {
      const options = { localPath: local, artifactPath: "", run: "shown" };
      assert.match(await shown(options), /uploading .*100%/);
      assert.equal(await shown(options, { progress: false }), "");
    });
  });

  describe("settings", () => {
    const read = (env: Record<string, string>) => readSettings({ env });
    it("come from the environment, in which empty is unset", () => {
      const env = {
        DSTACK_ARTIFACTS_URL: "http://h:1",
        DSTACK_ARTIFACTS_TOKEN: "t",
        DSTACK_PROJECT: "p",
        DSTACK_RUN_NAME: "r",
        RUN_NAME: "s",
      };
      const { url, token, project, run: current, timeoutMs } = read(env);
      assert.deepEqual([url, token, project, current, timeoutMs], ["http://h:1", "t", "p", "r", 30_000]);
      const empty = read({ ...Object.fromEntries(Object.keys(env).map((name) => [name, ""])), XDG_RUNTIME_DIR: "/run/user/1" });
      assert.deepEqual(
        [empty.url, empty.token, empty.project, empty.run],
        ["unix:///run/user/1/dstack-artifacts/server.sock", undefined, "", undefined],
      );
    });

    it("are refused where they can't be right", () => {
      for (const url of ["localhost:7777", "ftp://h", "", "unix:", "http://"])
        assert.throws(() => readSettings({ url, env: {} }), DstackError, url);
      for (const timeoutMs of [0, -1, Number.NaN, Number.POSITIVE_INFINITY])
        assert.throws(() => readSettings({ timeoutMs, env: {} }), DstackError);
      assert.throws(() => read({ DSTACK_PROJECT: "a/b" }), /project "a\/b"/);
      assert.throws(() => read({ DSTACK_ARTIFACTS_TOKEN: "a\nb" }), /token/);
    });

    it("agree with those of the other languages", () => {
      const limits = JSON.parse(fs.readFileSync(new URL("../vectors/limits.json", import.meta.url), "utf8"));
      const ours = {
        timeout_ms: read({}).timeoutMs,
        retry_first_wait_ms: FIRST_WAIT_MS,
        retry_longest_wait_ms: LONGEST_WAIT_MS,
        retry_wait_factor: WAIT_FACTOR,
        changing_file_reads: CHANGING_FILE_READS,
        damaged_file_sends: DAMAGED_FILE_SENDS,
        damaged_file_fetches: DAMAGED_FILE_FETCHES,
      };
      assert.deepEqual({ ...limits, ...ours }, limits);
    });
  });

  for (const path of ["a//", "//a", "///"]) {
    it(`an artifact path ${path} is refused, whatever it is for`, async () => {
      const problem = { message: /^(artifact )?path ".+" has an empty segment/ };
      await assert.rejects(client.upload({ localPath: local, artifactPath: path, run: "r" }), problem);
      await assert.rejects(client.download({ run: "r", artifactPath: path, localPath: join(folder.path, "out") }), problem);
      await assert.rejects(client.read({ run: "r", artifactPath: path }).next(), problem);
      await assert.rejects(client.list({ run: "r", prefix: path }), problem);
      await assert.rejects(client.createTag("t3", { run: "r", path }), problem);
      await assert.rejects(client.copy({ run: "r", artifactPath: path, toRun: "r2" }), problem);
      await assert.rejects(client.copy({ run: "r", toRun: "r2", toPath: path }), problem);
    });
  }

  it("a caller without types is told what is missing", async () => {
    const untyped = client as unknown as Record<"upload" | "download", (options?: object) => Promise<unknown>>;
    await assert.rejects(untyped.upload({}), { name: "ArtifactsUploadError", message: /^the local path is empty/ });
    await assert.rejects(untyped.download(), { name: "ArtifactsDownloadError", message: /^neither run nor tag was given/ });
  });

  it("the default client is made of the environment when it is first used, and anew when it was closed", async () => {
    const before = process.env["DSTACK_ARTIFACTS_URL"];
    try {
      process.env["DSTACK_ARTIFACTS_URL"] = "nonsense";
      await assert.rejects(artifacts.runs(), /not the URL of a server/);
      process.env["DSTACK_ARTIFACTS_URL"] = server.url;
      assert.equal((await artifacts.run("r")).name, "r");
      await artifacts.close();
      // Not a promise, though it is awaited now and then.
      assert.equal(await artifacts, artifacts);
    } finally {
      await artifacts.close();
      if (before === undefined) delete process.env["DSTACK_ARTIFACTS_URL"];
      else process.env["DSTACK_ARTIFACTS_URL"] = before;
    }
  });

  it("a client that is closed refuses calls, and calls that run end", async () => {
    const closing = clientAt(server.url);
    await closing.runs();
    const running = bytesFrom(closing.read({ run: "big", artifactPath: "big" }));
    await turn();
    await closing.close();
    await running.catch((error) => assert.ok(error instanceof DstackError));
    await assert.rejects(closing.runs(), DstackError);
  });

  it("a process ends by itself, with a client that was never closed", async () => {
    const end = await run("download", server.url, { run: "r", localPath: join(folder.path, "child") });
    assert.deepEqual(end?.result, { run: "r", commit: 1, files: 1, bytes: 3 });
  });

  it("a process ends by itself, with a reader that was left when all of the file had arrived", async () => {
    await client.uploadBytes({ artifactPath: "few", source: bytesOf(4, 3 * MIB), run: "few" });
    const end = await run("peek", server.url, { run: "few", artifactPath: "few" });
    assert.equal(end?.result, true);
  });

  it("speaks over TCP and TLS, with a token", async () => {
    using other = tempFolder();
    const authority = makeCertificate("an authority");
    const { cert, key } = makeCertificate("server", authority);
    const files = { certFile: join(other.path, "cert.pem"), keyFile: join(other.path, "key.pem") };
    fs.writeFileSync(files.certFile, cert);
    fs.writeFileSync(files.keyFile, key);
    const token = "a-token-for-tests";
    const listen = ["http://127.0.0.1:0", "https://127.0.0.1:0"];
    await using network = await serve("memory:", other.path, { listen, tls: files, tokens: parseTokens(token, "test") });
    for (const url of network.addresses) {
      const name = url.slice(0, url.indexOf(":"));
      await using good = clientAt(url, { token, tls: { ca: authority.cert } });
      await good.upload({ localPath: local, artifactPath: "", run: name });
      await good.download({ run: name, localPath: join(other.path, name) });
      assert.equal(fs.readFileSync(join(other.path, name, "a"), "utf8"), "abc");
      await using none = clientAt(url, { tls: { ca: authority.cert } });
      await assert.rejects(none.upload({ localPath: local, artifactPath: "" }), { name: "ArtifactsUploadError", reason: "TOKEN_MISSING" });
      await using wrong = clientAt(url, { token: "wrong", tls: { ca: authority.cert } });
      await assert.rejects(wrong.download({ run: name }), { name: "ArtifactsDownloadError", reason: "TOKEN_INVALID" });
    }
    await using stranger = clientAt(network.addresses[1] as string, { token });
    await assert.rejects(stranger.runs(), /no connection to a server at https:.*certificate/);
    const url = (network.addresses[0] as string).replace("http:", "https:");
    await using mistaken = clientAt(url, { token });
    await assert.rejects(mistaken.runs(), { message: `what listens at ${url} speaks no TLS: try http://` });
  });
});
