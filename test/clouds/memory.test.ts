/** How much memory a server takes while it uploads to a cloud. `npm run test:memory` is the long form, which prints what it found. */
import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import { type ArtifactsClient, createClient } from "../../src/index.ts";
import { startToxiproxy, type ToxicLine, type Toxiproxy } from "../servers/toxiproxy.ts";
import { type Served, serve } from "./command-line.ts";
import { CLOUDS, type RunningCloud } from "./stores.ts";

const MIB = 1024 * 1024;
const LIMIT_MIB = 300;
const LONG = process.env["MEMORY_TEST"] === "long";
/** MiB of an upload, or of eight together. Azurite and fake-gcs-server keep all of it in memory. */
const SIZES: Readonly<Record<string, number>> = LONG
  ? { "Amazon S3": 2048, "Azure Blob Storage": 512, "Google Cloud Storage": 512 }
  : { "Amazon S3": 256, "Google Cloud Storage": 256 };
const AT_ONCE = 8;
/** An upload that moves nothing for so long waits for the store. */
const STANDSTILL_MS = 2000;

for (const [name, size] of Object.entries(SIZES)) {
  const start = CLOUDS[name] as () => Promise<RunningCloud>;
  const bytes = size * MIB;
  describe(`memory of a server in front of ${name}`, function () {
    this.timeout(LONG ? 1_800_000 : 240_000);
    let cloud: RunningCloud;
    let toxiproxy: Toxiproxy;
    let line: ToxicLine;
    let server: Served;
    let client: ArtifactsClient;
    before(async () => {
      cloud = await start();
      toxiproxy = await startToxiproxy();
      line = await toxiproxy.lead(cloud.address);
    });
    after(async () => {
      await toxiproxy?.stop();
      await cloud?.stop();
    });
    beforeEach(async () => {
      // Each case has a server of its own, since a process seldom gives memory back.
      server = await serve(cloud.at("memory", line.url));
      client = createClient({ url: server.url, env: {} });
    });
    afterEach(async () => {
      await client.close();
      await server.stop();
    });

    /** Uploads so many bytes as one file; `onChunk` is told of each MiB that goes out. */
    function upload(artifactPath: string, size: number, onChunk: () => void = () => {}): Promise<unknown> {
      const chunk = new Uint8Array(MIB).fill(7);
      async function* source() {
        for (let sent = 0; sent < size; sent += MIB) {
          onChunk();
          yield chunk;
        }
      }
      return client.uploadBytes({ run: "memory", artifactPath, source: source() });
    }

    function check(what: string): void {
      const peak = Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${server.pid}/status`, "utf8"))?.[1]) / 1024;
      if (LONG) console.log(`      ${what}: ${peak.toFixed(0)} MiB`);
      assert.ok(peak < LIMIT_MIB, `${what}: ${peak.toFixed(0)} MiB`);
    }

    it(`stays under ${LIMIT_MIB} MiB with one upload of ${size} MiB`, async () => {
      await upload("one", bytes);
      check("one upload");
    });

    it(`stays under ${LIMIT_MIB} MiB with ${AT_ONCE} uploads at once`, async () => {
      await Promise.all(Array.from({ length: AT_ONCE }, (_, i) => upload(`eight/${i}`, bytes / AT_ONCE)));
      check(`${AT_ONCE} uploads`);
    });

    it(`stays under ${LIMIT_MIB} MiB with ${AT_ONCE} uploads to a store that stands still`, async () => {
      let movedAt = performance.now();
      let chunks = 0;
      const onChunk = () => {
        chunks++;
        movedAt = performance.now();
      };
      await line.add({ type: "bandwidth", stream: "upstream", attributes: { rate: 0 } });
      const uploads = Array.from({ length: AT_ONCE }, (_, i) => upload(`still/${i}`, bytes / AT_ONCE, onChunk));
      while (chunks === 0 || performance.now() - movedAt < STANDSTILL_MS) await new Promise((resolve) => setTimeout(resolve, 100));
      assert.ok(chunks * MIB < bytes, "the store didn't stand still");
      check("a store that stands still");
      await line.removeAll();
      await Promise.all(uploads);
      check("and goes on");
    });
  });
}
