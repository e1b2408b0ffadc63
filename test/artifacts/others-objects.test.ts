import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { createArtifacts } from "../../src/artifacts/artifacts.ts";
import { isOurs } from "../../src/artifacts/keys.ts";
import type { Artifacts } from "../../src/artifacts/types.ts";
import { prefixed } from "../../src/store/drivers/cloud/prefixed.ts";
import { MemoryObjects, openMemory } from "../../src/store/drivers/memory.ts";
import { PROJECT, runNames, sendFile, servers, show, upload } from "../support/domain.ts";

const LONG_AGO = new Date(0);

/** Somebody else's object, which is no message of ours. */
function addForeign(store: MemoryObjects, key: string, content = "\xff\xff of somebody else"): void {
  store.add(key, { bytes: Buffer.from(content), crc32c: 0, lastModified: LONG_AGO });
}

/** Twice, as ends of uploads go after their starts. */
async function collect(artifacts: Artifacts): Promise<void> {
  for (let i = 0; i < 2; i++) for await (const _ of artifacts.collectGarbage({ graceMs: 0 }));
}

/** Makes garbage of each kind: a deleted run, and an upload that its client left. */
async function litter(server: Artifacts, project: string): Promise<void> {
  await upload(server, { project, run: "gone" }, { a: "1" });
  await server.deleteRun(project, "gone");
  const left = await server.startUpload({ project, uploadId: randomUUID(), run: "left" });
  await sendFile(left, "b", "2");
  await left.close();
}

const HEX = "0123456789abcdef";
const NUMBER = "000000000000";

describe("objects that aren't ours", () => {
  it("are none that a server makes", async () => {
    const all = servers();
    const server = await all.open({ settings: { commitsPerSnapshot: 2 } });
    // So many that their list and its fold take objects of their own.
    const many = Object.fromEntries(Array.from({ length: 6000 }, () => [`${randomUUID()}/${randomUUID()}/${randomUUID()}`, ""]));
    await upload(server, { run: "r" }, { a: "1" });
    await upload(server, { run: "r" }, many);
    await server.copy({ project: PROJECT, source: { run: "r" }, sourcePath: "", run: "copied" });
    await server.createTag(PROJECT, "made", { run: "r" });
    await upload(server, { tag: "uploaded" }, { b: "2" });
    await litter(server, PROJECT);
    await server.close();
    for await (const _ of (await all.open()).collectGarbage({ graceMs: 1 }));
    assert.deepEqual(
      all.store.keys.filter((key) => !isOurs(key)),
      [],
    );
    for (const part of [
      ".format/",
      "/runs/",
      "/log/",
      "/tags/",
      "/snapshots/r/",
      "/data/fold.r.2/",
      "/uploads/copy-",
      "/ended/",
      "manifest-",
      "/gc/2",
    ])
      assert.ok(
        all.store.keys.some((key) => key.includes(part)),
        part,
      );
  });

  describe("are left alone by garbage collection", () => {
    for (const key of [
      "photos/data/2024/a.jpg",
      `photos/data/${HEX}/a.jpg`,
      `photos/data/${HEX}/${HEX}/cover`,
      "photos/uploads/a.jpg",
      "photos/ended/a.jpg",
      "photos/gc/a.jpg",
      `main/data/2024/${HEX}/${NUMBER}`,
      `main/data/${HEX}/attempt/${NUMBER}`,
      `main/data/${HEX}/${HEX}/${NUMBER}.bak`,
      `main/data/${HEX}/${HEX}/more/${NUMBER}`,
      `main/data/${HEX}`,
      "main/data/",
      "main/uploads/short",
      "main/uploads/notes of somebody.txt",
      `main/ended/${HEX}.json`,
      "main/gc/list",
      `.trash/data/${HEX}/${HEX}/${NUMBER}`,
      `-/uploads/${HEX}`,
      `/data/${HEX}/${HEX}/${NUMBER}`,
    ]) {
      it(key, async () => {
        const all = servers();
        const server = await all.open();
        await litter(server, PROJECT);
        addForeign(all.store, key);
        await collect(server);
        assert.ok(all.store.byKey.has(key));
        const ours = all.store.keys.filter((other) => other !== key && /\/(data|uploads|ended|gc)\//.test(other));
        assert.deepEqual(ours, [], "what is ours is collected");
      });
    }

    // Uploads by their hash, and jobs by their names, are what others have, too.
    it("also where a folder looks like a project, but has no run of ours", async () => {
      const all = servers();
      const server = await all.open();
      await litter(server, "zoo");
      const foreign = ["ci/ended/", "ci/uploads/", "photos/uploads/"].map((prefix) => prefix + HEX);
      for (const key of [...foreign, `photos/data/${HEX}/${HEX}/${NUMBER}`, "ci/runs/small"]) addForeign(all.store, key);
      addForeign(all.store, "ci/runs/empty", "");
      addForeign(all.store, "ci/runs/large", "x".repeat(1000));
      const keys = () => all.store.keys.filter((key) => !key.startsWith("zoo/"));
      const before = keys();
      await collect(server);
      assert.deepEqual(keys(), before);
      assert.ok(!server.driver.calls.some(({ operation, key }) => operation === "read" && key === "ci/runs/large"), "it may be huge");
      assert.ok(!all.store.keys.some((key) => key.startsWith("zoo/data/")), "the next project is collected");
    });

    for (const nested of ["artifacts", "artifacts/data", `artifacts/data/${HEX}`, "main", "main/data"])
      for (const project of ["data", "uploads", "runs", HEX])
        it(`in a store at ${nested}/ with a project ${project}`, async () => {
          const all = servers();
          const outer = await all.open();
          const open = () => createArtifacts(prefixed(openMemory("nested", { objects: all.store }), `${nested}/`));
          await litter(outer, "main");
          const before = new Set(all.store.keys);
          await upload(await open(), { project, run: "precious" }, { "model.bin": "acknowledged" });
          const inner = all.store.keys.filter((key) => !before.has(key));
          await collect(outer);
          assert.deepEqual(
            inner.filter((key) => !all.store.byKey.has(key)),
            [],
          );
          const reader = await open();
          assert.deepEqual(
            (await reader.listRuns(project)).runs.map(({ name }) => name),
            ["precious"],
          );
          assert.deepEqual(await show(reader, { run: "precious" }, { project }), { "model.bin": "acknowledged" });
        });
  });

  describe("disturb nothing", () => {
    for (const key of [
      ".DS_Store",
      "README",
      "zzz",
      "",
      "/",
      ".format/.DS_Store",
      ".format/",
      "main/",
      "main/.DS_Store",
      "main/runs/.DS_Store",
      "main/runs/",
      "main/log/.DS_Store",
      "main/log/r/.DS_Store",
      "main/log/r/",
      "main/tags/.DS_Store",
      "main/tags/t/.DS_Store",
      "main/snapshots/r/.DS_Store",
      "main/uploads/.DS_Store",
      "main/ended/.DS_Store",
      "main/gc/.DS_Store",
      `main/data/.DS_Store`,
      "other/.DS_Store",
    ]) {
      it(JSON.stringify(key), async () => {
        const store = new MemoryObjects();
        // As the console of S3 makes folders: an object of the prefix itself.
        const open = () =>
          createArtifacts(prefixed(openMemory("s3://bucket/prefix", { objects: store }), "prefix/"), {
            settings: { commitsPerSnapshot: 2 },
          });
        const before = await open();
        for (const file of ["a", "b", "c"]) await upload(before, { run: "r" }, { [file]: file });
        await before.createTag(PROJECT, "t", { run: "r" });
        await before.close();
        addForeign(store, `prefix/${key}`);

        const server = await open();
        await litter(server, PROJECT);
        assert.deepEqual(await runNames(server), ["r"]);
        assert.deepEqual(
          (await server.listTags(PROJECT)).tags.map(({ name }) => name),
          ["t"],
        );
        assert.equal((await server.listUploads(PROJECT)).uploads.length, 1);
        assert.equal((await upload(server, { run: "r" }, { d: "d" })).commit, 4);
        await collect(server);
        assert.equal((await server.listUploads(PROJECT)).uploads.length, 0);
        const reader = await open();
        for (const reference of [{ run: "r" }, { run: "r", commit: 4 }]) {
          assert.deepEqual(await show(reader, reference), { a: "a", b: "b", c: "c", d: "d" });
        }
        assert.deepEqual(await show(reader, { tag: "t" }), { a: "a", b: "b", c: "c" });
        assert.ok(store.byKey.has(`prefix/${key}`));
      });
    }

    it("beside what an upload has stored", async () => {
      const all = servers();
      const server = await all.open();
      const target = { project: PROJECT, uploadId: randomUUID(), run: "r" };
      const left = await server.startUpload(target);
      await sendFile(left, "a", "1");
      await left.close();
      for (const folder of [target.uploadId, `${target.uploadId}/${HEX}`]) addForeign(all.store, `main/data/${folder}/.DS_Store`);
      assert.deepEqual(
        (await server.getUpload(PROJECT, target.uploadId)).files.map(({ path }) => path),
        ["a"],
      );
    });

    it("however many there are before a run's log", async () => {
      const all = servers();
      const server = await all.open();
      await upload(server, { run: "r" }, { a: "1" });
      for (let i = 0; i < 2500; i++) addForeign(all.store, `main/log/r/.${String(i).padStart(4, "0")}`);
      assert.deepEqual(await runNames(server), ["r"]);
    });
  });
});
