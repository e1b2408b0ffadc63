import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import { createObjects } from "../../src/artifacts/objects.ts";
import type { Artifacts, PersistedFile } from "../../src/artifacts/types.ts";
import { KeptPersisted } from "../../src/artifacts/uploads/kept-persisted.ts";
import { createKeyedLock } from "../../src/lib/keyed-lock.ts";
import { PROJECT, sendFile, servers } from "../support/domain.ts";
import type { InterceptedDriver } from "../support/intercepted-driver.ts";

const OBJECT_BYTES = 1000;
const FILES_IN_OBJECT = 100;
const settings = { dataObjectBytes: OBJECT_BYTES, idleMs: 60_000 };

/** Sends files that make whole data objects, and breaks off. */
async function persist(artifacts: Artifacts, uploadId: string, paths: Iterable<string>): Promise<void> {
  const session = await artifacts.startUpload({ project: PROJECT, uploadId, run: "r" });
  for (const path of paths) await sendFile(session, path, "0123456789");
  await session.close();
}

function* pathsFrom(first: number, count: number): Generator<string> {
  for (let i = first; i < first + count; i++) yield `folder-${i % 7}/file-${10_000 + i}`;
}

interface PageEvents {
  afterPage?(n: number): Promise<void>;
}

async function pagesOf(artifacts: Artifacts, uploadId: string, { afterPage }: PageEvents = {}): Promise<PersistedFile[]> {
  const files: PersistedFile[] = [];
  let pageToken = "";
  for (let n = 1; n === 1 || pageToken; n++) {
    const page = await artifacts.getUpload(PROJECT, uploadId, { pageSize: 100, pageToken });
    files.push(...page.files);
    pageToken = page.nextPageToken;
    await afterPage?.(n);
  }
  return files;
}

function footersRead({ calls }: InterceptedDriver): number {
  return calls.filter(({ operation, key }) => operation === "read" && key.includes("/data/")).length;
}

describe("what is persisted of an upload", () => {
  it("is read once for all pages, and by the session that follows", async () => {
    const all = servers();
    const uploadId = randomUUID();
    await persist(await all.open({ settings }), uploadId, pathsFrom(0, 12 * FILES_IN_OBJECT));
    const server = await all.open({ settings });
    const files = await pagesOf(server, uploadId);
    assert.deepEqual(
      files.map(({ path }) => path),
      [...pathsFrom(0, 12 * FILES_IN_OBJECT)].sort(),
    );
    assert.equal(footersRead(server.driver), 12);
    const session = await server.startUpload({ project: PROJECT, uploadId, run: "r" });
    const { path, size, mtimeNs } = files[5] as PersistedFile;
    await session.file({ path, type: "file", size: size as number, mtimeNs });
    await session.skip(10);
    await session.close();
    assert.equal(footersRead(server.driver), 12);
  });

  it("is read once also when two clients ask in turn", async () => {
    const all = servers();
    const ids = [randomUUID(), randomUUID()];
    const other = await all.open({ settings });
    for (const id of ids) await persist(other, id, pathsFrom(0, 5 * FILES_IN_OBJECT));
    const server = await all.open({ settings });
    await Promise.all(ids.map((id) => pagesOf(server, id)));
    assert.equal(footersRead(server.driver), 10);
  });

  it("gets what another server stores meanwhile, of which alone the footers are read", async () => {
    const all = servers();
    const uploadId = randomUUID();
    const other = await all.open({ settings });
    await persist(other, uploadId, pathsFrom(0, 4 * FILES_IN_OBJECT));
    const server = await all.open({ settings });
    const files = await pagesOf(server, uploadId, {
      async afterPage(n) {
        if (n === 2)
          await persist(other, uploadId, ["a-first-folder/file", ...pathsFrom(4 * FILES_IN_OBJECT, 2 * FILES_IN_OBJECT - 1), "z-last"]);
      },
    });
    assert.equal(files.at(-1)?.path, "z-last");
    assert.equal(footersRead(server.driver), 4 + 3);
    assert.deepEqual(await pagesOf(server, uploadId), await pagesOf(await all.open(), uploadId));
  });

  // A store's clock tells in which order objects were stored, and may tell of one later that it came earlier.
  it("is what every other server tells, in whatever order objects come to be seen", async () => {
    let now = 1_700_000_000_000;
    const all = servers({ now: () => now });
    const uploadId = randomUUID();
    const content = (length: number) => Buffer.alloc(length, "x");
    const send = async (from: number, to: number) => {
      const session = await (await all.open({ settings })).startUpload({ project: PROJECT, uploadId, run: "r" });
      await session.file({ path: "f", type: "file", size: 900 });
      if (from > 0) await session.skip(from);
      await session.chunk(content(to - from));
      await session.close();
    };
    await send(0, 300);
    const server = await all.open({ settings });
    const before = await pagesOf(server, uploadId);
    await send(300, 500);
    now -= 60_000;
    await send(0, 200);
    assert.notDeepEqual(await pagesOf(server, uploadId), before);
    assert.deepEqual(await pagesOf(server, uploadId), await pagesOf(await all.open(), uploadId));
  });

  it("is let go of when nobody asks for some time", async () => {
    const all = servers();
    const uploadId = randomUUID();
    const server = await all.open({ settings });
    await persist(server, uploadId, pathsFrom(0, FILES_IN_OBJECT));
    const kept = new KeptPersisted(createObjects(server.driver), createKeyedLock(), 5);
    const first = await kept.load(PROJECT, uploadId);
    let again = first;
    while (again === first) {
      await setTimeout(10);
      again = await kept.load(PROJECT, uploadId);
    }
    assert.deepEqual(again.paths(), first.paths());
  });
});
