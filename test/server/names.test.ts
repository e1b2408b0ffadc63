import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { EntryType } from "../../gen/ts/dstack/artifacts/v1/entries_pb.ts";
import {
  all,
  clientOf,
  collect,
  failureFrom,
  reasonOf,
  say,
  startTestServer,
  stream,
  type TestServer,
  toRun,
  toTag,
  uploadMessages,
} from "./support.ts";

async function vectors(name: string) {
  return JSON.parse(await readFile(new URL(`../vectors/${name}.json`, import.meta.url), "utf8"));
}
const names: { valid: string[]; invalid: { name: string; problem: string }[] } = await vectors("names");
const paths: { valid: { path: string; normalised: string }[]; invalid: { path: string; problem: string }[]; order: string[] } =
  await vectors("paths");
const { links }: { links: { path: string; target: string; ok: boolean }[] } = await vectors("link-targets");

const WAYS = ["gRPC", "Connect over HTTP/1.1"];
const short = (text: string) => JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}… (${text.length})` : text);
const start = (run: string) => say("start", { uploadId: randomUUID(), target: { case: "run", value: run } });
/** Strings that protobuf can't carry: neither encoder takes them, so no server sees them. */
const sendable = (text: string) => text.isWellFormed();

describe("names and paths at the server", () => {
  let server: TestServer;
  before(async () => {
    server = await startTestServer();
    await clientOf(server.url).upload(uploadMessages({ run: "source" }, { f: "1" }));
  });
  after(() => server[Symbol.asyncDispose]());

  for (const way of WAYS) {
    describe(way, () => {
      const client = () => clientOf(server.url, undefined, way);

      for (const name of names.valid) {
        it(`takes ${short(name)} for a project, a run and a tag`, async () => {
          const project = name;
          await client().upload(uploadMessages({ project, run: name }, { f: way }));
          await client().createTag({ project, run: name, tag: name });
          assert.deepEqual(await collect(client().download({ project, reference: toTag(name) })), { f: way });
          await client().deleteRun({ project, run: name, force: true });
        });
      }
      for (const { name, problem } of names.invalid.filter((each) => sendable(each.name))) {
        it(`refuses ${short(name)} for a run and a tag, and says which rule it breaks`, async () => {
          const calls = [
            () => client().upload(uploadMessages({ run: name }, {})),
            () => client().upload(uploadMessages({ tag: name }, {})),
            () => client().getRun({ run: name }),
            () => client().createTag({ run: "source", tag: name }),
            () => all(client().download({ reference: toTag(name) })),
          ];
          for (const call of calls) {
            const failure = await failureFrom(call);
            assert.equal(failure.reason, "NAME_INVALID");
            assert.ok(failure.message.includes(problem), failure.message);
            assert.equal(failure.metadata["name"], name.slice(0, 1_024) + (name.length > 1_024 ? "…" : ""));
          }
          // No project at all is the server's own.
          if (name !== "") assert.equal(await reasonOf(() => client().listRuns({ project: name })), "NAME_INVALID");
        });
      }

      it("keeps every valid path as it is, byte for byte, and lists them in their order", async () => {
        const run = `paths-${randomUUID()}`;
        for (const { path, normalised } of paths.valid) {
          if (normalised === "") continue;
          const own = `${run}-${randomUUID().slice(0, 8)}`;
          await client().upload(uploadMessages({ run: own }, { [path]: path }));
          assert.deepEqual(await collect(client().download({ reference: toRun(own) })), { [normalised]: path }, short(path));
          assert.equal((await client().listEntries({ reference: toRun(own), prefix: path })).totalFiles, 1n, short(path));
        }
        const shuffled = [...paths.order].reverse();
        const folders = new Set(shuffled.filter((path) => shuffled.some((other) => other.startsWith(`${path}/`))));
        const entries = shuffled.flatMap((path) => (folders.has(path) ? [say("file", { path, type: EntryType.FOLDER })] : fileOf(path)));
        const files = BigInt(shuffled.length - folders.size);
        await client().upload(stream([start(run), ...entries, say("finish", { files, bytes: 0n })]));
        const listed = await client().listEntries({ reference: toRun(run), recursive: true });
        const wanted = new Set(paths.order);
        assert.deepEqual(
          listed.entries.map(({ path }) => path).filter((path) => wanted.has(path)),
          paths.order,
        );
      });

      for (const { path, problem } of paths.invalid.filter((each) => sendable(each.path))) {
        it(`refuses the path ${short(path)}, and says which rule it breaks`, async () => {
          const failure = await failureFrom(() => client().upload(stream([start("source"), say("file", { path, type: EntryType.FILE })])));
          assert.equal(failure.reason, "PATH_INVALID");
          assert.ok(failure.message.includes(problem), failure.message);
          // The root is a path to read from.
          if (problem.includes("root")) return;
          assert.equal(await reasonOf(() => all(client().download({ reference: toRun("source"), path }))), "PATH_INVALID");
          assert.equal(await reasonOf(() => client().listEntries({ reference: toRun("source"), prefix: path })), "PATH_INVALID");
          assert.equal(await reasonOf(() => client().copy({ source: toRun("source"), run: "copy", path })), "PATH_INVALID");
          assert.equal(await reasonOf(() => client().createTag({ run: "source", tag: "t", path })), "PATH_INVALID");
        });
      }

      for (const { path, target, ok } of links.filter((each) => sendable(each.target))) {
        it(`${ok ? "takes" : "refuses"} a link at ${path} to ${short(target)}`, async () => {
          const link = say("file", { path, type: EntryType.LINK, linkTarget: target });
          const upload = () => client().upload(stream([start(`links-${randomUUID()}`), link, say("finish", { files: 1n, bytes: 0n })]));
          if (ok) assert.equal((await upload()).files, 1n);
          else assert.equal(await reasonOf(upload), "PATH_INVALID");
        });
      }
    });
  }
});

function fileOf(path: string) {
  return [say("file", { path, type: EntryType.FILE }), say("fileEnd", { size: 0n, crc32c: 0 })];
}
