/**
 * Bad lines and stores in trouble, between a server and each cloud. Whatever happens, an upload either comes back byte for byte, or fails
 * in one clear line, within its deadline, and nothing of it can be seen. Each case asserts that its fault struck.
 */
import { strict as assert } from "node:assert";
import fs from "node:fs";
import { join } from "node:path";
import { compareTrees, readTree } from "../../scripts/compare-trees.ts";
import { DstackError, RunNotFoundError } from "../../src/index.ts";
import { type TempFolder, tempFolder } from "../client/support.ts";
import { type Fault, type HttpProxy, type SeenRequest, startHttpProxy } from "../servers/http-proxy.ts";
import { startToxiproxy, type Toxic, type ToxicLine, type Toxiproxy } from "../servers/toxiproxy.ts";
import { makeTree } from "../support/tree.ts";
import { DATA_OBJECT_BYTES, DEADLINE_MS, type ImpatientServer, startImpatientServer } from "./impatient-server.ts";
import { CLOUDS, type RunningCloud } from "./stores.ts";

const TREE = [
  { path: "several objects", size: 3 * DATA_OBJECT_BYTES + 1, seed: 1 },
  { path: "sub/small", text: "hello", mode: "600" },
  { path: "sub/empty", text: "" },
];
const BYTES = 3 * DATA_OBJECT_BYTES + 6;

type Which = (request: SeenRequest) => boolean;
const any: Which = () => true;
const write: Which = ({ method }) => method === "PUT" || method === "POST";
const largeWrite: Which = (request) => write(request) && Number(request.headers["content-length"]) > DATA_OBJECT_BYTES / 2;
const smallWrite: Which = (request) => write(request) && !largeWrite(request);
const listing: Which = ({ path, query }) => query.has("list-type") || query.get("comp") === "list" || path.endsWith("/o");
const read: Which = (request) => request.method === "GET" && !listing(request);
const dataRead: Which = (request) => read(request) && request.path.includes("/data/");
const FOREVER = Number.POSITIVE_INFINITY;

interface HttpCase {
  readonly what: string;
  readonly fault: Fault;
  readonly on: Which;
  /** How many requests it strikes, from the first on. */
  readonly times: number;
  /** What the error says; where there is none, all must go well. */
  readonly fails?: { readonly message: RegExp; readonly reason: string };
}

const HTTP_UPLOADS: readonly HttpCase[] = [
  { what: "503 for a while", fault: { kind: "answer", status: 503 }, on: any, times: 15 },
  { what: "429 that say how long to wait", fault: { kind: "answer", status: 429, headers: { "retry-after": "1" } }, on: write, times: 2 },
  { what: "conditional writes whose answers are lost", fault: { kind: "loseAnswer" }, on: write, times: 20 },
  { what: "calls of every kind whose answers are lost", fault: { kind: "loseAnswer" }, on: any, times: 25 },
  { what: "resets in the middle of bodies", fault: { kind: "resetRequest", bytes: 300_000 }, on: largeWrite, times: 6 },
  { what: "answers that are cut off", fault: { kind: "cutAnswer", bytes: 10 }, on: (request) => request.method === "GET", times: 6 },
  { what: "bytes that are damaged on their way to the store", fault: { kind: "damageRequest" }, on: largeWrite, times: 2 },
  { what: "records that are damaged on their way to the store", fault: { kind: "damageRequest" }, on: smallWrite, times: 2 },
  { what: "writes that hang, now and then", fault: { kind: "hang" }, on: largeWrite, times: 2 },
  {
    what: "503 without end",
    fault: { kind: "answer", status: 503 },
    on: largeWrite,
    times: FOREVER,
    fails: { message: /out of order for the moment \(503.*\d tries in/, reason: "STORE_UNAVAILABLE" },
  },
  {
    what: "a store that never answers",
    fault: { kind: "hang" },
    on: any,
    times: FOREVER,
    fails: { message: /got no answer within .* s/, reason: "STORE_UNAVAILABLE" },
  },
  {
    what: "bytes that are damaged on their way to the store, each time",
    fault: { kind: "damageRequest" },
    on: largeWrite,
    times: FOREVER,
    fails: { message: /arrived isn't what was sent/, reason: "DATA_DAMAGED" },
  },
  {
    what: "a refusal in the middle",
    fault: { kind: "answer", status: 403 },
    on: largeWrite,
    times: FOREVER,
    fails: { message: /denied/, reason: "STORE_MISCONFIGURED" },
  },
  {
    what: "a store that is full",
    fault: { kind: "answer", status: 507 },
    on: largeWrite,
    times: FOREVER,
    fails: { message: /no space left/, reason: "STORE_FULL" },
  },
];

const HTTP_DOWNLOADS: readonly HttpCase[] = [
  { what: "503 for a while", fault: { kind: "answer", status: 503 }, on: any, times: 10 },
  { what: "answers that are lost", fault: { kind: "loseAnswer" }, on: any, times: 10 },
  { what: "bodies that are cut off", fault: { kind: "cutAnswer", bytes: 100_000 }, on: dataRead, times: 4 },
  { what: "bytes that are damaged on their way", fault: { kind: "damageAnswer" }, on: dataRead, times: 1 },
  { what: "reads that hang, now and then", fault: { kind: "hang" }, on: dataRead, times: 2 },
  {
    what: "bytes that are damaged in the store",
    fault: { kind: "damageAnswer" },
    on: dataRead,
    times: FOREVER,
    fails: { message: /"several objects": stored bytes are damaged/, reason: "DATA_DAMAGED" },
  },
];

interface LineCase {
  readonly what: string;
  readonly toxics: readonly Toxic[];
  /** The line is whole again after so many failed tries; never, if there is nothing here. */
  readonly untilRetries?: number;
  /** What it must take, in milliseconds, if it struck; else there must have been failed tries. */
  readonly takesMs?: number;
  readonly fails?: boolean;
}

const toxic = (stream: Toxic["stream"], type: Toxic["type"], attributes: Toxic["attributes"]): Toxic => ({ stream, type, attributes });
const BANDWIDTH_KB = 3000;
const HALF_A_TRANSFER_MS = BYTES / BANDWIDTH_KB / 2;

const LINES: readonly LineCase[] = [
  {
    what: "far away",
    toxics: [toxic("upstream", "latency", { latency: 60, jitter: 20 }), toxic("downstream", "latency", { latency: 60, jitter: 20 })],
    takesMs: 200,
  },
  {
    what: "thin",
    toxics: [toxic("upstream", "bandwidth", { rate: BANDWIDTH_KB }), toxic("downstream", "bandwidth", { rate: BANDWIDTH_KB })],
    // All connections share nothing here: each has this bandwidth, and four are in use.
    takesMs: HALF_A_TRANSFER_MS / 4,
  },
  { what: "reset, for a while", toxics: [toxic("downstream", "reset_peer", { timeout: 50 })], untilRetries: 3 },
  { what: "cut off after each 700 KB up", toxics: [toxic("upstream", "limit_data", { bytes: 700_000 })], untilRetries: 3 },
  { what: "cut off after each 1,000 bytes down", toxics: [toxic("downstream", "limit_data", { bytes: 1_000 })], untilRetries: 3 },
  { what: "silent, for a while", toxics: [toxic("upstream", "timeout", { timeout: 0 })], untilRetries: 1 },
  { what: "reset for good", toxics: [toxic("downstream", "reset_peer", { timeout: 0 })], fails: true },
];

describe("between a server and its store in every cloud", function () {
  this.timeout(DEADLINE_MS + 30_000);
  let folder: TempFolder;
  const tree = () => join(folder.path, "tree");
  let counted = 0;
  const clouds: { name: string; cloud: RunningCloud }[] = [];

  before(async () => {
    folder = tempFolder();
    makeTree(tree(), TREE);
    await Promise.all(Object.entries(CLOUDS).map(async ([name, start]) => clouds.push({ name, cloud: await start() })));
  });
  after(async () => {
    await Promise.all(clouds.map(({ cloud }) => cloud.stop()));
    folder[Symbol.dispose]();
  });

  /** On all clouds at once, as most of it is waiting; what fails says where. */
  async function everywhere<Place extends { readonly name: string }>(
    places: readonly Place[],
    act: (place: Place) => Promise<void>,
  ): Promise<void> {
    assert.equal(places.length, Object.keys(CLOUDS).length);
    const outcomes = await Promise.allSettled(places.map(act));
    outcomes.forEach((outcome, i) => {
      if (outcome.status === "rejected") throw new Error(`in ${places[i]?.name}: ${outcome.reason}`, { cause: outcome.reason });
    });
  }

  async function upload({ client }: ImpatientServer, run: string): Promise<void> {
    const { commit, bytes } = await client.upload({ localPath: tree(), artifactPath: "", run });
    assert.deepEqual({ commit, bytes }, { commit: 1, bytes: BYTES });
  }

  /** Downloads a run into a folder of its own, and compares. */
  async function comesBack({ client }: ImpatientServer, run: string): Promise<void> {
    const back = join(folder.path, `back-${++counted}`);
    await client.download({ run, localPath: back });
    assert.deepEqual(compareTrees(readTree(tree()), readTree(back)), []);
    fs.rmSync(back, { recursive: true });
  }

  async function failsInTime(act: () => Promise<unknown>): Promise<DstackError> {
    const begun = performance.now();
    const error: unknown = await act().then(
      () => undefined,
      (reason) => reason,
    );
    assert.ok(error instanceof DstackError, `not a DstackError: ${error}`);
    assert.match(error.message, /^[^\n]+$/);
    assert.ok(performance.now() - begun < DEADLINE_MS, `it took ${performance.now() - begun} ms`);
    return error;
  }

  async function isInvisible({ client }: ImpatientServer, run: string): Promise<void> {
    assert.ok(!(await client.runs()).some(({ name }) => name === run));
    await assert.rejects(client.download({ run, localPath: join(folder.path, "none") }), RunNotFoundError);
  }

  describe("requests go wrong", () => {
    interface Place {
      readonly name: string;
      readonly proxy: HttpProxy;
      readonly server: ImpatientServer;
    }
    const places: Place[] = [];
    before(async () => {
      for (const { name, cloud } of clouds) {
        const proxy = await startHttpProxy(cloud.address);
        places.push({ name, proxy, server: await startImpatientServer(cloud.at("requests", proxy.url)) });
      }
      await everywhere(places, ({ server }) => upload(server, "stored"));
    });
    after(async () => {
      for (const { server } of places) await server.stop();
      for (const { proxy } of places) await proxy.stop();
    });

    /** Lets a fault strike while `act` runs, which must be long enough for all of it. */
    async function during(proxy: HttpProxy, { fault, on, times }: HttpCase, act: () => Promise<unknown>): Promise<void> {
      const before = proxy.struck.length;
      let left = times;
      proxy.onRequest = (request) => (on(request) && left-- > 0 ? fault : undefined);
      try {
        await act();
      } finally {
        proxy.onRequest = () => undefined;
      }
      const struck = proxy.struck.length - before;
      assert.ok(times === FOREVER ? struck > 0 : struck >= Math.min(times, 4), `it struck ${struck} times`);
    }

    async function failsAs({ fails }: HttpCase, act: () => Promise<unknown>): Promise<void> {
      const error = await failsInTime(act);
      assert.match(error.message, fails?.message as RegExp);
      assert.equal(error.reason, fails?.reason);
    }

    for (const each of HTTP_UPLOADS) {
      it(`an upload meets ${each.what}: ${each.fails ? "it fails, and can't be seen" : "it comes back"}`, () =>
        everywhere(places, async ({ proxy, server }) => {
          const run = `up-${++counted}`;
          await during(proxy, each, () => (each.fails ? failsAs(each, () => upload(server, run)) : upload(server, run)));
          if (each.fails) await isInvisible(server, run);
          else await comesBack(server, run);
        }));
    }

    it("a tagged upload loses the answers to its conditional writes: the tag is its own", () =>
      everywhere(places, async ({ proxy, server: { client } }) => {
        await during(proxy, { what: "", fault: { kind: "loseAnswer" }, on: write, times: 12 }, async () => {
          const { run, tag } = await client.upload({ localPath: tree(), artifactPath: "", tag: "lost" });
          assert.deepEqual([tag, (await client.tag("lost")).run], ["lost", run]);
        });
        assert.equal((await client.tags()).length, 1);
      }));

    for (const each of HTTP_DOWNLOADS) {
      it(`a download meets ${each.what}: ${each.fails ? "it fails, and leaves no file that isn't whole" : "it is whole"}`, () =>
        everywhere(places, async ({ proxy, server }) => {
          const back = join(folder.path, `cut-${++counted}`);
          const download = () => server.client.download({ run: "stored", localPath: back });
          await during(proxy, each, () => (each.fails ? failsAs(each, download) : comesBack(server, "stored")));
          if (each.fails) assert.ok(!fs.existsSync(join(back, "several objects")));
          await comesBack(server, "stored");
        }));
    }
  });

  describe("the line is", () => {
    interface Place {
      readonly name: string;
      readonly line: ToxicLine;
      readonly server: ImpatientServer;
    }
    const places: Place[] = [];
    let toxiproxy: Toxiproxy;
    before(async () => {
      toxiproxy = await startToxiproxy();
      for (const { name, cloud } of clouds) {
        const line = await toxiproxy.lead(cloud.address);
        places.push({ name, line, server: await startImpatientServer(cloud.at("lines", line.url)) });
      }
      await everywhere(places, ({ server }) => upload(server, "stored"));
    });
    after(async () => {
      for (const { server } of places) await server.stop();
      await toxiproxy?.stop();
    });

    /** Does something while the line is bad, and makes sure that this was felt. */
    async function during({ line, server }: Place, bad: LineCase, act: () => Promise<unknown>): Promise<void> {
      const retriesBefore = server.retries.length;
      const failed = () => server.retries.length - retriesBefore;
      let healing: Promise<void> | undefined;
      server.onRetry = () => {
        if (failed() === bad.untilRetries) healing = line.removeAll();
      };
      for (const each of bad.toxics) await line.add(each);
      const begun = performance.now();
      try {
        await act();
      } finally {
        server.onRetry = () => {};
        await (healing ?? line.removeAll());
      }
      const tookMs = performance.now() - begun;
      if (bad.takesMs === undefined) assert.ok(failed() > 0, "no try failed");
      else assert.ok(tookMs >= bad.takesMs, `it took only ${tookMs} ms`);
    }

    for (const each of LINES) {
      it(`${each.what}: an upload ${each.fails ? "fails, and can't be seen" : "comes back"}`, () =>
        everywhere(places, async (place) => {
          const { server } = place;
          const run = `line-${++counted}`;
          await during(place, each, async () => {
            if (!each.fails) return upload(server, run);
            const { reason } = await failsInTime(() => upload(server, run));
            assert.equal(reason, "STORE_UNAVAILABLE");
          });
          if (each.fails) await isInvisible(server, run);
          else await comesBack(server, run);
        }));
    }

    it("cut off after each 700 KB down: a download is whole", () =>
      everywhere(places, async (place) => {
        const cut = { what: "", toxics: [toxic("downstream", "limit_data", { bytes: 700_000 })], untilRetries: 4 };
        await during(place, cut, () => comesBack(place.server, "stored"));
      }));
  });
});
