/** One client that is used by many at once, as a program's default client is. */
import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { startTestServer, TOKEN } from "../server/support.ts";
import { clientAt, tempFolder } from "./support.ts";

const MIB = 1024 * 1024;

describe("one client, used by many at once", () => {
  it("takes more reads than a connection takes calls", async () => {
    await using server = await startTestServer();
    await using client = clientAt(server.url, { token: TOKEN });
    await client.uploadBytes({ source: Buffer.alloc(100_000, 1), artifactPath: "f", run: "r" });
    const sizes = await Promise.all(
      Array.from({ length: 250 }, async () => {
        let size = 0;
        for await (const bytes of client.read({ run: "r", artifactPath: "f" })) size += bytes.length;
        return size;
      }),
    );
    assert.deepEqual(new Set(sizes), new Set([100_000]));
  });

  it("goes on after hundreds of reads that were left in the middle", async () => {
    await using server = await startTestServer();
    await using client = clientAt(server.url, { token: TOKEN });
    await client.uploadBytes({ source: Buffer.alloc(64 * MIB, 1), artifactPath: "f", run: "r" });
    for (let i = 0; i < 700; i++) for await (const _ of client.read({ run: "r", artifactPath: "f" })) break;
    assert.equal((await client.list({ run: "r" })).entries.length, 1);
  });

  it("downloads again what is there already, beside a large download", async () => {
    using temp = tempFolder();
    const folder = temp.path;
    await using server = await startTestServer({ listen: [`unix://${join(folder, "s")}`] });
    await using client = clientAt(server.url, { token: TOKEN, timeoutMs: 3_000 });
    const deep = join(folder, "small", "x".repeat(200));
    await mkdir(deep, { recursive: true });
    for (let i = 0; i < 1500; i++) await writeFile(join(deep, `${i}`), `${i}`);
    await client.upload({ localPath: join(folder, "small"), artifactPath: "/", run: "small" });
    await client.uploadBytes({ source: Buffer.alloc(64 * MIB, 1), artifactPath: "f", run: "large" });
    let done = false;
    const reading = (async () => {
      while (!done) for await (const _ of client.read({ run: "large", artifactPath: "f" }));
    })();
    for (let i = 0; i < 3; i++) await client.download({ run: "small", localPath: join(folder, "small") });
    done = true;
    await reading;
  });
});
