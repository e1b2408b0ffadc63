/** What docs/stores.md says that calls cost, counted on each cloud; and that nothing outside of the prefix is asked for. */
import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import type { Artifacts, Reference } from "../../src/artifacts/types.ts";
import { openArtifacts } from "../../src/compose.ts";
import { type HttpProxy, type SeenRequest, startHttpProxy } from "../servers/http-proxy.ts";
import { type Files, PROJECT, upload } from "../support/domain.ts";
import { CLOUDS, type RunningCloud, type StoreAddress } from "./stores.ts";

const MIB = 1024 * 1024;
const DOCUMENT = new URL("../../docs/stores.md", import.meta.url);

interface Counts {
  readonly puts: number;
  readonly gets: number;
  readonly lists: number;
}

/** The rows of the document's table: sums of numbers and of names. */
const PROMISED: ReadonlyMap<string, Readonly<Record<keyof Counts, string>>> = new Map(
  readFileSync(DOCUMENT, "utf8")
    .split("| call | puts | gets | lists |")[1]
    ?.split("\n\n")[0]
    ?.split("\n")
    .slice(2)
    .map((row) => row.split("|").map((cell) => cell.trim()))
    .map(([, call = "", puts = "", gets = "", lists = ""]) => [call, { puts, gets, lists }]),
);

function promised(call: string, names: Readonly<Record<string, number>>): Counts {
  const row = PROMISED.get(call);
  assert.ok(row, `docs/stores.md has no row "${call}"`);
  const value = (sum: string) => sum.split("+").reduce((total, term) => total + (names[term.trim()] ?? Number(term)), 0);
  return { puts: value(row.puts), gets: value(row.gets), lists: value(row.lists) };
}

const isList = ({ path, query }: SeenRequest) => query.has("list-type") || query.get("comp") === "list" || path.endsWith("/o");

function counted(requests: readonly SeenRequest[]): Counts {
  const gets = requests.filter(({ method }) => method === "GET");
  const lists = gets.filter(isList).length;
  const puts = requests.filter(({ method }) => method === "PUT" || method === "POST").length;
  assert.equal(gets.length + puts, requests.length, "there were requests of other kinds");
  return { puts, gets: gets.length - lists, lists };
}

const files = (count: number, bytes: number): Files =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`files/${String(i).padStart(6, "0")}`, new Uint8Array(bytes).fill(i)]));

const UPLOADS: readonly { what: string; files: Files; names: { D: number; R: number; M: number; B: number } }[] = [
  { what: "one small file", files: files(1, 1000), names: { D: 1, R: 1, M: 0, B: 0 } },
  { what: "1,000 files of 5 KB", files: files(1000, 5000), names: { D: 1, R: 2, M: 0, B: 0 } },
  { what: "one file of 40 MiB", files: files(1, 40 * MIB), names: { D: 3, R: 5, M: 0, B: 0 } },
  { what: "nothing but empty files", files: files(3, 0), names: { D: 0, R: 0, M: 0, B: 0 } },
];

for (const [name, start] of Object.entries(CLOUDS)) {
  describe(`requests to ${name}`, function () {
    this.timeout(120_000);
    let cloud: RunningCloud;
    let proxy: HttpProxy;
    let at: StoreAddress;
    before(async () => {
      cloud = await start();
      proxy = await startHttpProxy(cloud.address);
      at = cloud.at("team/artifacts", proxy.url);
    });
    after(async () => {
      await proxy?.stop();
      await cloud?.stop();
    });

    let mark = 0;
    /** Counts what `act` asks for, and gives what it gives. */
    async function costs<T>(call: string, names: Readonly<Record<string, number>>, act: () => Promise<T>): Promise<T> {
      mark = proxy.requests.length;
      const result = await act();
      assert.deepEqual(counted(proxy.requests.slice(mark)), promised(call, names), call);
      return result;
    }

    const open = async (): Promise<Artifacts> => (await openArtifacts(at.url, { env: at.env })).artifacts;
    async function download(artifacts: Artifacts, reference: Reference): Promise<void> {
      for await (const _ of artifacts.download({ project: PROJECT, reference }));
    }

    it("open a store", async () => {
      await (await costs("open a new store", {}, open)).close();
      await (await costs("open a store", {}, open)).close();
    });

    for (const { what, files, names } of UPLOADS) {
      it(`upload and download ${what}`, async () => {
        const run = what.replaceAll(/\W+/g, "-");
        let artifacts = await open();
        await costs("upload to a new run", names, () => upload(artifacts, { run }, files));
        await artifacts.close();

        artifacts = await open();
        await costs("download of a run", { ...names, C: 1 }, () => download(artifacts, { run }));
        await costs("download of a run, again by the same server", names, () => download(artifacts, { run }));
        await artifacts.close();

        artifacts = await open();
        await costs("upload to a run that another server uploaded to", names, () => upload(artifacts, { run }, files));
        await costs("upload with a new tag", names, () => upload(artifacts, { tag: run }, files));
        await artifacts.close();

        artifacts = await open();
        await costs("download of a run", { ...names, C: 2 }, () => download(artifacts, { run }));
        await costs("download of a tag", names, () => download(artifacts, { tag: run }));
        await artifacts.close();
      });
    }

    it("take two objects more for a long list of files, and a get for about 1,000 of them", async () => {
      const many = 12_000;
      let artifacts = await open();
      await costs("upload to a new run", { D: 2, M: 2 }, () => upload(artifacts, { run: "many" }, files(many, 1)));
      await artifacts.close();
      artifacts = await open();
      mark = proxy.requests.length;
      await download(artifacts, { run: "many" });
      const { gets } = counted(proxy.requests.slice(mark));
      const blocks = gets - promised("download of a run", { C: 1, R: Math.ceil(many / 512), B: 0 }).gets;
      assert.ok(blocks > many / 2000 && blocks < many / 500, `${blocks} gets`);
      await artifacts.close();
    });

    it("stay under the prefix, whatever is done", async () => {
      const artifacts = await open();
      await artifacts.deleteRun(PROJECT, "many");
      for await (const _ of artifacts.verify(PROJECT, { run: "one-small-file" }));
      for await (const _ of artifacts.collectGarbage({ graceMs: 0 }));
      await artifacts.listRuns(PROJECT);
      await artifacts.close();
      for (const request of proxy.requests) {
        // Google's writes have the key in their body.
        if (request.method === "POST") continue;
        const within = isList(request) ? request.query.get("prefix") : request.path.replace(/^.*?\/artifacts\/(o\/)?/, "");
        assert.ok(within?.startsWith("team/artifacts/"), `${request.method} ${request.path} ${request.query}`);
      }
    });
  });
}
