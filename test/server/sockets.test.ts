import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, stat, symlink, writeFile } from "node:fs/promises";
import { connect as connectHttp2 } from "node:http2";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { parseAddress } from "../../src/server/listen.ts";
import { rawCall, startTestServer, statusOf, withFolder } from "./support.ts";

/** What a call without a token ends with at a Unix socket. */
async function callAt(path: string): Promise<string | undefined> {
  const session = connectHttp2("http://localhost", { createConnection: () => connect(path) });
  session.on("error", () => {});
  try {
    return statusOf(await rawCall(session, "Upload", Buffer.alloc(0), { authorization: undefined })).reason;
  } finally {
    session.destroy();
  }
}

describe("a Unix socket", () => {
  it("is its owner's alone, in a folder that is its owner's alone, and asks for no token", () =>
    withFolder(async (folder) => {
      const path = join(folder, "deep", "folder", "server.sock");
      await using server = await startTestServer({ listen: [`unix://${path}`], tokens: [] });
      assert.equal(server.url, `unix://${path}`);
      assert.equal((await stat(path)).mode & 0o777, 0o600);
      assert.equal((await stat(join(folder, "deep", "folder"))).mode & 0o777, 0o700);
      assert.equal((await stat(join(folder, "deep"))).mode & 0o777, 0o700);
      assert.equal(await callAt(path), "MESSAGE_INVALID");
    }));

  it("is its owner's alone also in a folder that is open, whatever the mask says", () =>
    withFolder(async (folder) => {
      await chmod(folder, 0o777);
      const mask = process.umask(0);
      try {
        await using _server = await startTestServer({ listen: [`unix://${join(folder, "s")}`], tokens: [] });
        assert.equal((await stat(join(folder, "s"))).mode & 0o777, 0o600);
        assert.equal(process.umask(0), 0);
      } finally {
        process.umask(mask);
      }
    }));

  it("asks for no token while TCP beside it does", () =>
    withFolder(async (folder) => {
      const path = join(folder, "s");
      await using server = await startTestServer({ listen: [`unix:${path}`, "http://127.0.0.1:0"] });
      assert.equal(await callAt(path), "MESSAGE_INVALID");
      const session = connectHttp2(server.addresses[1] as string);
      assert.equal(statusOf(await rawCall(session, "Upload", Buffer.alloc(0), { authorization: undefined })).reason, "TOKEN_MISSING");
      session.destroy();
    }));

  it("is gone when the server is, and replaces one that a dead server left", () =>
    withFolder(async (folder) => {
      const path = join(folder, "s");
      await leaveSocket(path);
      assert.ok((await stat(path)).isSocket());
      const server = await startTestServer({ listen: [`unix://${path}`], tokens: [] });
      assert.equal(await callAt(path), "MESSAGE_INVALID");
      await server[Symbol.asyncDispose]();
      await assert.rejects(stat(path), { code: "ENOENT" });
    }));

  it("doesn't replace one at which somebody listens", () =>
    withFolder(async (folder) => {
      const path = join(folder, "s");
      await using _first = await startTestServer({ listen: [`unix://${path}`], tokens: [] });
      await assert.rejects(startTestServer({ listen: [`unix://${path}`], tokens: [] }), {
        message: `can't listen at unix://${path}: a server is listening there already`,
      });
      assert.equal(await callAt(path), "MESSAGE_INVALID");
    }));

  it("is left to one of many servers that start at once", () =>
    withFolder(async (folder) => {
      const path = join(folder, "s");
      await leaveSocket(path);
      const started = await Promise.allSettled(
        Array.from({ length: 8 }, () => startTestServer({ listen: [`unix://${path}`], tokens: [] })),
      );
      const running = started.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
      const answer = await callAt(path);
      for (const server of running) await server[Symbol.asyncDispose]();
      assert.deepEqual([running.length, answer], [1, "MESSAGE_INVALID"]);
    }));

  it("doesn't replace what is no socket", () =>
    withFolder(async (folder) => {
      const file = join(folder, "file");
      await writeFile(file, "precious");
      await symlink(file, join(folder, "link"));
      await mkdir(join(folder, "folder"));
      for (const name of ["file", "link", "folder"]) {
        const path = join(folder, name);
        await assert.rejects(startTestServer({ listen: [`unix://${path}`], tokens: [] }), {
          message: `can't listen at unix://${path}: ${path} exists and is no socket`,
        });
      }
    }));
});

describe("an address", () => {
  for (const text of [
    "",
    "x",
    "http://",
    "ftp://x:1",
    "http://x:1/path",
    "http://x:1?q",
    "http://u:p@x:1",
    "unix:relative",
    "unix://",
    "http://x:99999",
  ]) {
    it(`is refused when it is none: ${JSON.stringify(text)}`, () => {
      assert.throws(
        () => parseAddress(text),
        /is no address to listen at: use unix:\/\/\/path, http:\/\/host:port or https:\/\/host:port$/,
      );
    });
  }
  it("has a path that fits a socket's address", () => {
    assert.throws(() => parseAddress(`unix:///${"x".repeat(120)}`), /at most 107 bytes: choose a shorter one$/);
    assert.deepEqual(parseAddress("unix:///a%20b"), { kind: "unix", path: "/a b", url: "unix:///a b" });
    assert.deepEqual(parseAddress("http://[::1]:80"), { kind: "http", host: "::1", port: 80, url: "http://[::1]:80" });
  });
  it("that is taken is named", async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const { port } = other.address() as { port: number };
    await assert.rejects(startTestServer({ listen: [`http://127.0.0.1:${port}`] }), {
      message: `can't listen at http://127.0.0.1:${port}: something else listens there`,
    });
    other.close();
  });
});

/** Leaves a socket file at which nobody listens, as a server does that is killed. */
async function leaveSocket(path: string): Promise<void> {
  const code = `require("node:net").createServer().listen(${JSON.stringify(path)}, () => console.log("listening"))`;
  const child = spawn(process.execPath, ["-e", code], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  child.kill("SIGKILL");
  await once(child, "close");
}
