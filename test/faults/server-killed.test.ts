/**
 * The server is killed at any of its calls to the system that change the store, while a client works with it; another one takes its place.
 * Nothing that was not acknowledged can be seen in part, what was acknowledged is there, and the client comes to its end by itself.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { type ArtifactsClient, createClient } from "../../src/client/client.ts";
import { bytesFrom, FAST, newFolder, removeFolders, type Tree, writeTree } from "./support/folders.ts";
import { digestsOf, lookAt, type Seen, type Shown } from "./support/look.ts";
import { pointsOf } from "./support/points.ts";
import { serve } from "./support/server.ts";
import { openFolder } from "./support/store.ts";

const MAIN = join(import.meta.dirname, "support", "server-main.ts");
const HOWS = ["before", "during", "after"] as const;
/** Points of the short form, and of the long one. */
const POINTS = pointsOf(14, 700);

const FIRST: Tree = { a: bytesFrom("a", 10), "d/b": bytesFrom("b", 70_000), empty: Buffer.alloc(0) };
const SECOND: Tree = { big: bytesFrom("big", 400_000), "d/b": bytesFrom("newer b", 20) };
const TAGGED: Tree = { model: bytesFrom("model", 150_000), "logs/1": bytesFrom("log", 3_000) };
const BOTH = { ...FIRST, ...SECOND };

/** What the client does, one after the other, and what can be seen after each. */
function story(client: ArtifactsClient, local: string): readonly { act(): Promise<unknown>; after: Seen }[] {
  const [first, both, tagged] = [FIRST, BOTH, TAGGED].map(digestsOf) as [Shown, Shown, Shown];
  const upload = (folder: string, to: { run: string } | { tag: string }) =>
    client.upload({ localPath: join(local, folder), artifactPath: "", ...to });
  return [
    { act: () => upload("first", { run: "r" }), after: { runs: { r: first }, tags: {} } },
    { act: () => upload("tagged", { tag: "t" }), after: { runs: { r: first, "": tagged }, tags: { t: tagged } } },
    { act: () => upload("second", { run: "r" }), after: { runs: { r: both, "": tagged }, tags: { t: tagged } } },
    {
      act: () => client.createTag("u", { run: "r", commit: 1 }),
      after: { runs: { r: both, "": tagged }, tags: { t: tagged, u: first } },
    },
    {
      act: () => client.copy({ run: "r", artifactPath: "d", toRun: "s" }),
      after: { runs: { r: both, "": tagged, s: { "d/b": both["d/b"] as string } }, tags: { t: tagged, u: first } },
    },
    { act: () => client.deleteRun("s"), after: { runs: { r: both, "": tagged }, tags: { t: tagged, u: first } } },
    { act: () => client.deleteTag("t"), after: { runs: { r: both, "": tagged }, tags: { u: first } } },
  ];
}

/** With generated names of runs left out. */
function plain({ runs, tags }: Seen): Seen {
  return { runs: Object.fromEntries(Object.entries(runs).map(([name, files]) => [name === "r" || name === "s" ? name : "", files])), tags };
}

interface Told {
  /** Calls that changed the store, if nothing killed the server. */
  readonly calls: number;
  readonly killed: boolean;
}

async function tell(kill: { at: number; how: (typeof HOWS)[number] } | undefined): Promise<Told> {
  const folder = newFolder(FAST);
  const [root, socket, local] = ["store", "server.sock", "local"].map((name) => join(folder, name)) as [string, string, string];
  for (const [name, tree] of Object.entries({ first: FIRST, second: SECOND, tagged: TAGGED })) writeTree(join(local, name), tree);
  const child = spawn(process.execPath, [MAIN, root, socket, ...(kill ? [String(kill.at), kill.how] : [])], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = once(child, "close");
  let acknowledged = 0;
  let successor: { see(): Promise<Seen>; close(): Promise<void> } | undefined;

  // Looks at what the dead one left before anybody else can touch it, then takes its place.
  const takenOver = ended.then(async () => {
    const artifacts = await openFolder(root);
    const seen = plain(await lookAt(artifacts));
    const before = acknowledged === 0 ? { runs: {}, tags: {} } : steps[acknowledged - 1]?.after;
    const after = steps[acknowledged]?.after ?? before;
    try {
      assert.deepEqual(seen, before);
    } catch {
      assert.deepEqual(seen, after, `after ${acknowledged} steps`);
    }
    const server = await serve(artifacts, socket);
    successor = {
      see: async () => plain(await lookAt(artifacts)),
      async close() {
        await server.close();
        await artifacts.close();
      },
    };
  });
  takenOver.catch(() => {});

  const client = createClient({ url: `unix://${socket}`, env: {} });
  const steps = story(client, local);
  try {
    const ready = await isReady(child);
    if (!ready) await takenOver;
    for (const step of steps) {
      try {
        await step.act();
      } catch (error) {
        // A server that is gone when a call is made is an error at once; whether the call before that was carried out, is to be seen.
        const isGone = child.exitCode !== null || child.signalCode !== null;
        if (!isGone || !/no server at|connection was lost|went away/.test(String(error))) throw error;
        await takenOver;
        if (!isDeepStrictEqual(await successor?.see(), step.after)) await step.act();
      }
      acknowledged++;
    }
    let calls = 0;
    const killed = child.signalCode === "SIGKILL";
    if (!killed && child.exitCode === null) {
      let output = "";
      child.stdout?.setEncoding("utf8").on("data", (text: string) => (output += text));
      child.stdin?.write("end\n");
      await ended;
      calls = Number(/(\d+) calls/.exec(output)?.[1]);
    }
    await takenOver;
    const artifacts = await openFolder(root);
    assert.deepEqual(plain(await lookAt(artifacts)), steps.at(-1)?.after);
    assert.equal((await artifacts.getRun("main", "r")).commits, 2, "each upload was committed once");
    await artifacts.close();
    return { calls, killed };
  } finally {
    child.kill("SIGKILL");
    await client.close();
    await takenOver.catch(() => {});
    await successor?.close();
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

async function isReady(child: ChildProcess): Promise<boolean> {
  const [first] = (await Promise.race([once(child.stdout as NodeJS.ReadableStream, "data"), once(child, "close")])) as [unknown];
  return String(first).startsWith("ready");
}

describe("a server that is killed", () => {
  after(removeFolders);

  it("at any call that changes its store loses nothing, shows nothing in part, and is succeeded", async () => {
    const { calls } = await tell(undefined);
    assert.ok(calls > 150, `${calls} calls`);
    let fired = 0;
    for (let i = 0; fired < POINTS.count; i++) {
      // The last calls may not come: a view is folded in the background, and fsyncs that come together are made once.
      assert.ok(i < 1.25 * POINTS.count, `only ${fired} of ${i} struck`);
      const at = POINTS.at(i, calls);
      const how = HOWS[i % HOWS.length] as (typeof HOWS)[number];
      try {
        if ((await tell({ at, how })).killed) fired++;
      } catch (error) {
        throw new Error(`killed ${how} call ${at} of ${calls}`, { cause: error });
      }
    }
    POINTS.report("servers killed", fired);
  });
});
