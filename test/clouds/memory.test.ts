/**
 * How much memory a server takes while it uploads to a cloud. The sizes here are for every day; `npm run test:memory` takes eight times as
 * much, on S3, and prints what it found.
 */
import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import { type ArtifactsClient, createClient } from "../../src/index.ts";
import { startToxiproxy, type ToxicLine, type Toxiproxy } from "../servers/toxiproxy.ts";
import { type Served, serve } from "./command-line.ts";
import { CLOUDS, type RunningCloud } from "./stores.ts";

const MIB = 1024 * 1024;
const LIMIT_MIB = 300;
const LONG = process.env["MEMORY_TEST"] === "long";
const UPLOAD_BYTES = (LONG ? 2048 : 256) * MIB;
const AT_ONCE = 8;
/** An upload that moves nothing for so long waits for the store. */
const STANDSTILL_MS = 2000;

for (const [name, start] of Object.entries(CLOUDS)) {
  if (LONG && name !== "Amazon S3") continue;
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
    function upload(artifactPath: string, bytes: number, onChunk: () => void = () => {}): Promise<unknown> {
      const chunk = new Uint8Array(MIB).fill(7);
      async function* source() {
        for (let sent = 0; sent < bytes; sent += MIB) {
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

    it(`stays under ${LIMIT_MIB} MiB with one upload of ${UPLOAD_BYTES / MIB} MiB`, async () => {
      await upload("one", UPLOAD_BYTES);
      check("one upload");
    });

    it(`stays under ${LIMIT_MIB} MiB with ${AT_ONCE} uploads at once`, async () => {
      await Promise.all(Array.from({ length: AT_ONCE }, (_, i) => upload(`eight/${i}`, UPLOAD_BYTES / AT_ONCE)));
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
      const uploads = Array.from({ length: AT_ONCE }, (_, i) => upload(`still/${i}`, UPLOAD_BYTES / AT_ONCE, onChunk));
      while (chunks === 0 || performance.now() - movedAt < STANDSTILL_MS) await new Promise((resolve) => setTimeout(resolve, 100));
      assert.ok(chunks * MIB < UPLOAD_BYTES, "the store didn't stand still");
      check("a store that stands still");
      await line.removeAll();
      await Promise.all(uploads);
      check("and goes on");
    });
  });
}
