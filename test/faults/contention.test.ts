/** Many writers at once at several servers on one store: of those with one tag one wins, those of one run lose nothing. */
import assert from "node:assert/strict";
import { createArtifacts } from "../../src/artifacts/artifacts.ts";
import { ArtifactsFailure } from "../../src/artifacts/errors.ts";
import type { Artifacts } from "../../src/artifacts/types.ts";
import { MemoryObjects, openMemory } from "../../src/store/drivers/memory.ts";
import { bytesFrom, FAST, newFolder, removeFolders, type Tree } from "./support/folders.ts";
import { digestsOf, PROJECT, shown } from "./support/look.ts";
import { IS_LONG } from "./support/points.ts";
import { openFolder, SMALL_SETTINGS } from "./support/store.ts";
import { upload, uploadTagged } from "./support/upload.ts";

const SERVERS = 4;
const TAG_WRITERS = 64;
const TAG_ROUNDS = IS_LONG ? 1_000 : 8;
const RUN_WRITERS = 8;
const COMMITS_EACH = IS_LONG ? 200 : 20;

const STORES: Readonly<Record<string, () => () => Promise<Artifacts>>> = {
  memory() {
    const objects = new MemoryObjects();
    return () => createArtifacts(openMemory("memory:", { objects }), { settings: SMALL_SETTINGS });
  },
  file() {
    const root = newFolder(FAST);
    return () => openFolder(root);
  },
};

const treeOf = (name: string): Tree => ({ [name]: bytesFrom(name, 50), shared: bytesFrom(`shared ${name}`, 20) });

async function serversOf(open: () => Promise<Artifacts>): Promise<readonly Artifacts[]> {
  const servers = [await open()];
  while (servers.length < SERVERS) servers.push(await open());
  return servers;
}

for (const [store, prepare] of Object.entries(STORES)) {
  describe(`at several servers on one store (${store})`, () => {
    let servers: readonly Artifacts[];
    const serverOf = (writer: number) => servers[writer % SERVERS] as Artifacts;
    before(async () => {
      servers = await serversOf(prepare());
    });
    after(async () => {
      await Promise.all(servers.map((server) => server.close()));
      removeFolders();
    });

    it(`${TAG_WRITERS} writers with one tag have one winner, ${TAG_ROUNDS} times`, async () => {
      const winnersRuns: string[] = [];
      for (let round = 0; round < TAG_ROUNDS; round++) {
        const results = await Promise.allSettled(
          Array.from({ length: TAG_WRITERS }, (_, writer) => uploadTagged(serverOf(writer), "best", treeOf(`${round}-${writer}`))),
        );
        const winners = results.flatMap((result, writer) => (result.status === "fulfilled" ? [{ writer, run: result.value.run }] : []));
        for (const result of results) {
          if (result.status === "rejected")
            assert.ok(result.reason instanceof ArtifactsFailure && result.reason.reason === "TAG_EXISTS", String(result.reason));
        }
        assert.equal(winners.length, 1, `round ${round}`);
        const [{ writer, run }] = winners as [{ writer: number; run: string }];
        assert.deepEqual(await shown(serverOf(round), { tag: "best" }), digestsOf(treeOf(`${round}-${writer}`)));
        winnersRuns.push(run);
        await serverOf(round + 1).deleteTag(PROJECT, "best");
      }
      const runs: string[] = [];
      let pageToken = "";
      do {
        const page = await serverOf(0).listRuns(PROJECT, { pageSize: 1_000, pageToken });
        runs.push(...page.runs.map(({ name }) => name));
        pageToken = page.nextPageToken;
      } while (pageToken !== "");
      assert.deepEqual(runs.sort(), winnersRuns.sort(), "the losers left no run");
    });

    it(`${RUN_WRITERS} writers of ${COMMITS_EACH} commits each to one run lose nothing`, async () => {
      const commits = await Promise.all(
        Array.from({ length: RUN_WRITERS }, async (_, writer) => {
          const own: number[] = [];
          for (let i = 0; i < COMMITS_EACH; i++)
            own.push(await upload(serverOf(writer), "r", undefined, { [`${writer}/${i}`]: bytesFrom(`${writer}-${i}`, 50) }));
          return own;
        }),
      );
      const all = commits.flat().sort((a, b) => a - b);
      assert.deepEqual(
        all,
        Array.from({ length: RUN_WRITERS * COMMITS_EACH }, (_, i) => i + 1),
      );
      for (const own of commits)
        assert.deepEqual(
          own,
          [...own].sort((a, b) => a - b),
        );
      const expected = Object.fromEntries(
        commits.flatMap((own, writer) => own.map((_, i) => [`${writer}/${i}`, bytesFrom(`${writer}-${i}`, 50)] as const)),
      );
      assert.deepEqual(await shown(serverOf(1), { run: "r" }), digestsOf(expected));
    });
  });
}
