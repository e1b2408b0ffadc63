import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import type { Artifacts } from "../../src/artifacts/types.ts";
import { crc32c } from "../../src/lib/crc32c.ts";
import { PROJECT, servers } from "../support/domain.ts";
import { usedBytes } from "../support/memory.ts";

/** Nearly as many as a commit's log entry holds inline. */
const FILES = 2_500;
/** As many as a view has before it is folded. */
const COMMITS = 15;
const MIB = 1024 * 1024;

async function uploadTinyFiles(artifacts: Artifacts, run: string): Promise<void> {
  const bytes = Buffer.from("0123456789");
  const end = { size: bytes.length, crc32c: crc32c(bytes) };
  const session = await artifacts.startUpload({ project: PROJECT, uploadId: randomUUID(), run });
  for (let i = 0; i < FILES; i++) {
    await session.file({
      path: `training-set/class/shard-${String(i).padStart(6, "0")}.bin`,
      type: "file",
      size: bytes.length,
      mtimeNs: 1n,
    });
    await session.chunk(bytes);
    await session.endFile(end);
  }
  await session.finish({ files: FILES, bytes: FILES * bytes.length });
  await session.close();
}

/** Runs whose views have many inline manifests. */
async function makeRuns(artifacts: Artifacts, runs: readonly string[]): Promise<void> {
  await uploadTinyFiles(artifacts, "source");
  for (const run of runs) {
    for (let k = 0; k < COMMITS; k++)
      await artifacts.copy({ project: PROJECT, source: { run: "source" }, sourcePath: "", path: `${k}`, run });
  }
}

describe("views that a server keeps", () => {
  const used = () => {
    const { heap, external } = usedBytes();
    return heap + external;
  };

  it("take little more memory than the bytes that they have in the store", async () => {
    const all = servers();
    await makeRuns(await all.open(), ["r"]);
    const reader = await all.open();
    const before = used();
    const { files } = await reader.getRun(PROJECT, "r");
    assert.equal(files, FILES * COMMITS);
    const taken = used() - before;
    const stored = [...all.store.byKey].reduce((sum, [key, { bytes }]) => sum + (key.includes("/log/r/") ? bytes.length : 0), 0);
    assert.ok(stored > 2.6 * MIB, `the log of the run has ${stored} bytes`);
    assert.ok(taken < 3 * stored, `a view of ${stored} bytes takes ${taken}`);
  });

  it("make room by what they weigh, the one first that was used longest ago", async () => {
    const all = servers();
    const runs = Array.from({ length: 6 }, (_, i) => `r${i}`);
    await makeRuns(await all.open(), runs);
    const reader = await all.open();
    for (const run of runs) await reader.getRun(PROJECT, run);
    const loads = async (run: string) => {
      reader.driver.calls.length = 0;
      await reader.getRun(PROJECT, run);
      return reader.driver.calls.some(({ operation, key }) => operation === "list" && key.includes("/snapshots/"));
    };
    assert.equal(await loads("r5"), false);
    assert.equal(await loads("r4"), false);
    assert.equal(await loads("r0"), true);
  });
});
