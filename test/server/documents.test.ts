import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { request } from "node:http";
import { DEFAULT_LIMITS } from "../../src/server/options.ts";
import { PAGE, pageWithTables } from "./protocol-page.ts";
import { clientOf, startTestServer, TOKEN, uploadMessages } from "./support.ts";

const CALL =
  'call() { curl -s "$URL/dstack.artifacts.v1.ArtifactsService/$1" -H "authorization: Bearer $TOKEN" -H \'content-type: application/json\' -d "$2"; }';

describe("docs/protocol.md", () => {
  it("has the calls and the reasons that the protocol's files have", async () => {
    const page = await readFile(PAGE, "utf8");
    assert.equal(page, await pageWithTables(page), "it isn't current: node test/server/protocol-page.ts");
    assert.ok(page.includes("| `TAG_EXISTS` | ALREADY_EXISTS | tag |") && page.includes("| `Upload` | client streams | write |"));
  });

  it("shows calls that work, with the answers that they get", async () => {
    const page = await readFile(PAGE, "utf8");
    assert.ok(page.includes(`\n${CALL}\n`), "the way to call is another one");
    await using server = await startTestServer();
    await clientOf(server.url).upload(uploadMessages({ run: "run-1" }, { "a.txt": "hello", "d/b.txt": "there" }));
    const examples = [...page.matchAll(/^\$ call (\w+) '(.*)'\n(.+)$/gm)];
    assert.ok(examples.length >= 6);
    for (const [, method = "", body = "", shown = ""] of examples) {
      const sent = request(`${server.url}/dstack.artifacts.v1.ArtifactsService/${method}`, {
        method: "POST",
        headers: { authorization: `Bearer ${TOKEN}`, "content-type": "application/json" },
        agent: false,
      });
      sent.end(body);
      const [response] = await once(sent, "response");
      let answer = "";
      for await (const part of response) answer += part;
      const pattern = shown.split("…").map((text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
      assert.match(answer, new RegExp(`^${pattern.join(".+")}$`), method);
    }
  });
});

describe("docs/operations.md", () => {
  it("names every metric that the server shows, and no other", async () => {
    const page = await readFile(new URL("../../docs/operations.md", import.meta.url), "utf8");
    const source = await readFile(new URL("../../src/server/metrics.ts", import.meta.url), "utf8");
    const counters = new Set([...source.matchAll(/createCounter\(`\$\{PREFIX\}(\w+)`/g)].map(([, name]) => name));
    const made = [...source.matchAll(/`\$\{PREFIX\}(\w+)`/g)].map(
      ([, name]) => `dstack_artifacts${name}${counters.has(name) ? "_total" : ""}`,
    );
    const named = [...page.matchAll(/^\| `(dstack_artifacts_\w+)` \|/gm)].map(([, name]) => name);
    assert.deepEqual(named.sort(), made.sort());
  });

  it("states the limits that the server has", async () => {
    const page = await readFile(PAGE, "utf8");
    const { maxCalls, maxStreamsPerConnection, maxHeaderBytes, resetBurst, resetsPerSecond, pingBurst, pingsPerSecond } = DEFAULT_LIMITS;
    for (const text of [
      `| ${maxStreamsPerConnection}; ${maxCalls.toLocaleString("en")} |`,
      `| ${maxHeaderBytes / 1_024} KiB, 64 of them |`,
      `| ${resetBurst} at once, then ${resetsPerSecond} a second |`,
      `| ${pingBurst.toLocaleString("en")} at once, then ${pingsPerSecond} a second |`,
      `| ${DEFAULT_LIMITS.handshakeTimeoutMs / 1_000} s |`,
      `| ${DEFAULT_LIMITS.idleTimeoutMs / 60_000} minutes |`,
    ]) {
      assert.ok(page.includes(text), text);
    }
  });
});
