import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { Code } from "@connectrpc/connect";
import { EntryType } from "../../gen/ts/dstack/artifacts/v1/entries_pb.ts";
import type { StoreErrorKind } from "../../src/store/driver.ts";
import { StoreError } from "../../src/store/driver.ts";
import type { Failure } from "../../src/wire/status.ts";
import { servers } from "../support/domain.ts";
import { puts } from "../support/intercepted-driver.ts";
import {
  type ArtifactsClient,
  all,
  clientOf,
  cutAt,
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

/** What is there before each call that must fail. */
interface World {
  readonly run: string;
  /** Of `run`. */
  readonly tag: string;
  /** Damaged in the store. */
  readonly damaged: string;
  /** An upload into `run` that was begun and not finished. */
  readonly open: string;
  /** An upload that makes a tag, and the run that it keeps for itself. */
  readonly tagged: { readonly id: string; readonly run: string };
  readonly aborted: string;
  readonly committed: string;
}

interface Case {
  readonly rpc: string;
  readonly reason: string;
  readonly call: (client: ArtifactsClient, world: World) => Promise<unknown>;
  readonly metadata?: (world: World) => Record<string, string>;
}

const NOBODY = "nobody";
const NEW = () => randomUUID();
const file = (path: string) => say("file", { path, type: EntryType.FILE });
const aim = (run: string) => ({ case: "run", value: run });

/** The calls that take a reference, each with one. */
const READERS: Readonly<
  Record<string, (client: ArtifactsClient, request: { reference: object; path?: string; project?: string }) => Promise<unknown>>
> = {
  Download: (client, { reference, path = "", project = "" }) => all(client.download({ reference, path, project })),
  ListEntries: (client, { reference, path = "", project = "" }) => client.listEntries({ reference, prefix: path, project }),
  Copy: (client, { reference, path = "", project = "" }) => client.copy({ source: reference, sourcePath: path, run: "copy", project }),
  Verify: (client, { reference, project = "" }) => all(client.verify({ reference, project })),
};

const readerCases: Case[] = Object.entries(READERS).flatMap(([rpc, call]) => [
  { rpc, reason: "RUN_NOT_FOUND", call: (client) => call(client, { reference: toRun(NOBODY) }), metadata: () => ({ run: NOBODY }) },
  {
    rpc,
    reason: "COMMIT_NOT_FOUND",
    call: (client, { run }) => call(client, { reference: toRun(run, 99n) }),
    metadata: ({ run }) => ({ run, commit: "99" }),
  },
  { rpc, reason: "TAG_NOT_FOUND", call: (client) => call(client, { reference: toTag(NOBODY) }), metadata: () => ({ tag: NOBODY }) },
  {
    rpc,
    reason: "NAME_INVALID",
    call: (client) => call(client, { reference: toRun("../x") }),
    metadata: () => ({ kind: "run", name: "../x" }),
  },
  { rpc, reason: "REFERENCE_INVALID", call: (client) => call(client, { reference: {} }) },
]);

const pathCases: Case[] = Object.entries(READERS)
  .filter(([rpc]) => rpc !== "Verify")
  .flatMap(([rpc, call]) => [
    {
      rpc,
      reason: "PATH_NOT_FOUND",
      call: (client, { run }) => call(client, { reference: toRun(run), path: "no/such" }),
      metadata: ({ run }) => ({ path: "no/such", run }),
    },
    {
      rpc,
      reason: "PATH_INVALID",
      call: (client, { run }) => call(client, { reference: toRun(run), path: "a/../b" }),
      metadata: () => ({ path: "a/../b" }),
    },
  ]);

const uploads: Record<string, (world: World) => Parameters<ArtifactsClient["upload"]>[0]> = {
  NAME_INVALID: () => uploadMessages({ run: "a b" }, {}),
  PATH_INVALID: ({ run }) => uploadMessages({ run }, { "a//b": "" }),
  PATH_CONFLICT: ({ run }) => uploadMessages({ run }, { a: "", "a/b": "" }),
  UPLOAD_ID_INVALID: ({ run }) => uploadMessages({ run, uploadId: "short" }, {}),
  MESSAGE_INVALID: ({ run }) => cutAt(uploadMessages({ run }, { a: "" }), "finish"),
  SIZE_MISMATCH: ({ run }) =>
    stream([
      say("start", { uploadId: NEW(), target: aim(run) }),
      file("a"),
      say("chunk", Buffer.from("abc")),
      say("fileEnd", { size: 2n }),
    ]),
  CHECKSUM_MISMATCH: ({ run }) =>
    stream([
      say("start", { uploadId: NEW(), target: aim(run) }),
      file("a"),
      say("chunk", Buffer.from("abc")),
      say("fileEnd", { size: 3n }),
    ]),
  TAG_EXISTS: ({ tag }) => uploadMessages({ tag }, {}),
  RUN_RESERVED: ({ tagged }) => uploadMessages({ run: tagged.run }, {}),
  UPLOAD_ID_MISMATCH: ({ open }) => uploadMessages({ run: "another", uploadId: open }, {}),
  UPLOAD_GONE: ({ run, aborted }) => uploadMessages({ run, uploadId: aborted }, {}),
  PERSISTED_MISSING: ({ run }) => stream([say("start", { uploadId: NEW(), target: aim(run) }), file("a"), say("skip", 5n)]),
};

const CASES: readonly Case[] = [
  ...Object.entries(uploads).map(
    ([reason, messages]): Case => ({ rpc: "Upload", reason, call: (client, world) => client.upload(messages(world)) }),
  ),
  ...readerCases,
  ...pathCases,
  {
    rpc: "GetUpload",
    reason: "UPLOAD_NOT_FOUND",
    call: (client) => client.getUpload({ uploadId: "x".repeat(16) }),
    metadata: () => ({ upload_id: "x".repeat(16) }),
  },
  { rpc: "GetUpload", reason: "UPLOAD_ID_INVALID", call: (client) => client.getUpload({ uploadId: "x" }), metadata: () => ({ id: "x" }) },
  { rpc: "GetUpload", reason: "PAGE_TOKEN_INVALID", call: (client, { open }) => client.getUpload({ uploadId: open, pageToken: "!" }) },
  { rpc: "ListUploads", reason: "PAGE_TOKEN_INVALID", call: (client) => client.listUploads({ pageToken: "!" }) },
  { rpc: "AbortUpload", reason: "UPLOAD_NOT_FOUND", call: (client) => client.abortUpload({ uploadId: "x".repeat(16) }) },
  {
    rpc: "AbortUpload",
    reason: "UPLOAD_FINISHED",
    call: (client, { committed }) => client.abortUpload({ uploadId: committed }),
    metadata: ({ committed }) => ({ upload_id: committed }),
  },
  {
    rpc: "Download",
    reason: "RANGE_INVALID",
    call: (client, { run }) => all(client.download({ reference: toRun(run), path: "f", range: { offset: 5n } })),
    metadata: () => ({ path: "f", size: "5" }),
  },
  {
    rpc: "Download",
    reason: "DATA_DAMAGED",
    call: (client, { damaged }) => all(client.download({ reference: toRun(damaged) })),
    metadata: () => ({ path: "f" }),
  },
  {
    rpc: "ListEntries",
    reason: "PAGE_TOKEN_INVALID",
    call: (client, { run }) => client.listEntries({ reference: toRun(run), pageToken: "AAAA" }),
  },
  { rpc: "GetRun", reason: "RUN_NOT_FOUND", call: (client) => client.getRun({ run: NOBODY }), metadata: () => ({ run: NOBODY }) },
  { rpc: "ListRuns", reason: "PAGE_TOKEN_INVALID", call: (client) => client.listRuns({ pageToken: "!" }) },
  { rpc: "DeleteRun", reason: "RUN_NOT_FOUND", call: (client) => client.deleteRun({ run: NOBODY }), metadata: () => ({ run: NOBODY }) },
  {
    rpc: "DeleteRun",
    reason: "RUN_HAS_TAGS",
    call: (client, { run }) => client.deleteRun({ run }),
    metadata: ({ run, tag }) => ({ run, tags: tag }),
  },
  { rpc: "CreateTag", reason: "RUN_NOT_FOUND", call: (client) => client.createTag({ tag: "new", run: NOBODY }) },
  { rpc: "CreateTag", reason: "COMMIT_NOT_FOUND", call: (client, { run }) => client.createTag({ tag: "new", run, commit: 7n }) },
  { rpc: "CreateTag", reason: "PATH_NOT_FOUND", call: (client, { run }) => client.createTag({ tag: "new", run, path: "no/such" }) },
  {
    rpc: "CreateTag",
    reason: "TAG_EXISTS",
    call: (client, { run, tag }) => client.createTag({ tag, run }),
    metadata: ({ tag }) => ({ tag }),
  },
  {
    rpc: "CreateTag",
    reason: "UPLOAD_ID_MISMATCH",
    call: (client, { run, open }) => client.createTag({ tag: "new", run, requestId: open }),
    metadata: ({ open }) => ({ upload_id: open }),
  },
  {
    rpc: "CreateTag",
    reason: "UPLOAD_GONE",
    async call(client, { run }) {
      const requestId = NEW();
      await reasonOf(() => client.createTag({ tag: "new", run, path: "no/such", requestId }));
      await client.abortUpload({ uploadId: requestId });
      return client.createTag({ tag: "new", run, requestId });
    },
  },
  { rpc: "GetTag", reason: "TAG_NOT_FOUND", call: (client) => client.getTag({ tag: NOBODY }), metadata: () => ({ tag: NOBODY }) },
  { rpc: "ListTags", reason: "PAGE_TOKEN_INVALID", call: (client) => client.listTags({ pageToken: "!" }) },
  { rpc: "DeleteTag", reason: "TAG_NOT_FOUND", call: (client) => client.deleteTag({ tag: NOBODY }) },
  {
    rpc: "Copy",
    reason: "RUN_RESERVED",
    call: (client, { run, tagged }) => client.copy({ source: toRun(run), sourcePath: "", run: tagged.run }),
    metadata: ({ tagged }) => ({ run: tagged.run }),
  },
  {
    rpc: "Copy",
    reason: "UPLOAD_ID_MISMATCH",
    call: (client, { run, open }) => client.copy({ source: toRun(run), run: "copy", requestId: open }),
    metadata: ({ open }) => ({ upload_id: open }),
  },
  {
    rpc: "Copy",
    reason: "UPLOAD_GONE",
    call: (client, { run, aborted }) => client.copy({ source: toRun(run), run: "copy", requestId: aborted }),
    metadata: ({ aborted }) => ({ upload_id: aborted }),
  },
  // Beyond what the protocol's comments name: ids of requests, names of tags, messages that say nothing sensible.
  { rpc: "DeleteRun", reason: "UPLOAD_ID_INVALID", call: (client, { run }) => client.deleteRun({ run, requestId: "x" }) },
  {
    rpc: "CreateTag",
    reason: "UPLOAD_ID_INVALID",
    call: (client, { run }) => client.createTag({ tag: "new", run, requestId: "a b".repeat(9) }),
  },
  {
    rpc: "CreateTag",
    reason: "NAME_INVALID",
    call: (client, { run }) => client.createTag({ tag: "a/b", run }),
    metadata: () => ({ kind: "tag", name: "a/b" }),
  },
  { rpc: "DeleteTag", reason: "UPLOAD_ID_INVALID", call: (client, { tag }) => client.deleteTag({ tag, requestId: "x" }) },
  { rpc: "Copy", reason: "UPLOAD_ID_INVALID", call: (client, { run }) => client.copy({ source: toRun(run), run: "copy", requestId: "x" }) },
  ...[{ nanos: -1 }, { seconds: -1n }].map(
    (grace): Case => ({ rpc: "CollectGarbage", reason: "MESSAGE_INVALID", call: (client) => all(client.collectGarbage({ grace })) }),
  ),
];

/** A call that names a project, for each RPC that does. */
const WITH_PROJECT: Readonly<Record<string, (client: ArtifactsClient, project: string) => Promise<unknown>>> = {
  Upload: (client, project) => client.upload(uploadMessages({ run: "r", project }, {})),
  ...Object.fromEntries(
    Object.entries(READERS).map(([rpc, call]) => [
      rpc,
      (client: ArtifactsClient, project: string) => call(client, { reference: toRun("r"), project }),
    ]),
  ),
  GetUpload: (client, project) => client.getUpload({ project, uploadId: NEW() }),
  ListUploads: (client, project) => client.listUploads({ project }),
  AbortUpload: (client, project) => client.abortUpload({ project, uploadId: NEW() }),
  GetRun: (client, project) => client.getRun({ project, run: "r" }),
  ListRuns: (client, project) => client.listRuns({ project }),
  DeleteRun: (client, project) => client.deleteRun({ project, run: "r" }),
  CreateTag: (client, project) => client.createTag({ project, tag: "t", run: "r" }),
  GetTag: (client, project) => client.getTag({ project, tag: "t" }),
  ListTags: (client, project) => client.listTags({ project }),
  DeleteTag: (client, project) => client.deleteTag({ project, tag: "t" }),
};

/** The reasons that the protocol's file names for each RPC, in its own comment. */
async function documentedReasons(): Promise<[rpc: string, reason: string][]> {
  const proto = await readFile(new URL("../../proto/dstack/artifacts/v1/artifacts.proto", import.meta.url), "utf8");
  const found: [string, string][] = [];
  for (const [, comment = "", rpc = ""] of proto.matchAll(/((?: {2}\/\/.*\n)+) {2}rpc (\w+)\(/g)) {
    const errors = comment.slice(comment.indexOf("Errors:"));
    if (comment.includes("Errors:")) for (const [reason] of errors.matchAll(/\b[A-Z]+_[A-Z_]+\b/g)) found.push([rpc, reason]);
  }
  const codes = new Set(Object.keys(Code).map((name) => name.replace(/(?<=.)([A-Z])/g, "_$1").toUpperCase()));
  return found.filter(([, reason]) => !codes.has(reason));
}

describe("every error of every call", () => {
  const domain = servers();
  let server: TestServer;
  let world: World;

  before(async () => {
    server = await startTestServer({ artifacts: await domain.open() });
    const client = clientOf(server.url);
    const committed = NEW();
    const [run, tag, damaged] = ["run", "tag", "damaged"];
    await client.upload(uploadMessages({ run, uploadId: committed }, { f: "hello", "d/g": "there" }));
    await client.createTag({ run, tag });
    const broken = NEW();
    await client.upload(uploadMessages({ run: damaged, uploadId: broken }, { f: "soon gone" }));
    for (const key of [...domain.store.keys]) if (key.includes(`/data/${broken}/`)) domain.store.remove(key);
    const [open, tagging, aborted] = [NEW(), NEW(), NEW()];
    await reasonOf(() => client.upload(cutAt(uploadMessages({ run, uploadId: open }, { a: "1" }), "finish")));
    await reasonOf(() => client.upload(cutAt(uploadMessages({ tag: "being-made", uploadId: tagging }, { a: "1" }), "finish")));
    await reasonOf(() => client.upload(cutAt(uploadMessages({ run, uploadId: aborted }, { a: "1" }), "finish")));
    await client.abortUpload({ uploadId: aborted });
    const reserved = (await client.getUpload({ uploadId: tagging })).upload?.run ?? "";
    world = { run, tag, damaged, open, tagged: { id: tagging, run: reserved }, aborted, committed };
  });
  after(() => server[Symbol.asyncDispose]());

  it("is in this table, if the protocol's file names it", async () => {
    const documented = await documentedReasons();
    assert.ok(documented.length > 40, String(documented.length));
    const missing = documented.filter(([rpc, reason]) => !CASES.some((each) => each.rpc === rpc && each.reason === reason));
    assert.deepEqual(missing, []);
  });

  for (const transport of ["gRPC", "gRPC with JSON", "gRPC-Web over HTTP/1.1", "Connect over HTTP/1.1", "Connect over HTTP/2"]) {
    describe(transport, () => {
      for (const { rpc, reason, call, metadata } of CASES) {
        it(`${rpc}: ${reason}`, async () => {
          const failure = await failureFrom(() => call(clientOf(server.url, undefined, transport), world));
          assert.equal(failure.reason, reason, failure.message);
          assert.match(failure.message, /^[^\n]{3,}$/);
          if (metadata !== undefined) assert.deepEqual({ ...failure.metadata, ...metadata(world) }, failure.metadata);
        });
      }
    });
  }
  // JSON has no way to say these.
  for (const grace of [{ seconds: 2n ** 62n }, { nanos: 2_000_000_000 }, { seconds: 1n, nanos: -1 }]) {
    it(`CollectGarbage: MESSAGE_INVALID for a grace period of ${grace.seconds ?? 0} s and ${grace.nanos ?? 0} ns`, async () => {
      assert.equal(await reasonOf(() => all(clientOf(server.url).collectGarbage({ grace }))), "MESSAGE_INVALID");
    });
  }
  for (const [rpc, call] of Object.entries(WITH_PROJECT)) {
    it(`${rpc}: NAME_INVALID for a project`, async () => {
      const { reason, metadata } = await failureFrom(() => call(clientOf(server.url), "a b"));
      assert.deepEqual([reason, metadata], ["NAME_INVALID", { kind: "project", name: "a b" }]);
    });
  }
});

describe("what the store does wrong", () => {
  const KINDS: Readonly<Record<Exclude<StoreErrorKind, "notFound" | "outOfRange">, [reason: string, code: Code, retryAfterMs?: number]>> = {
    temporary: ["STORE_UNAVAILABLE", Code.Unavailable, 1_000],
    full: ["STORE_FULL", Code.ResourceExhausted],
    denied: ["STORE_MISCONFIGURED", Code.FailedPrecondition],
    misconfigured: ["STORE_MISCONFIGURED", Code.FailedPrecondition],
    unsupported: ["STORE_MISCONFIGURED", Code.FailedPrecondition],
    damaged: ["DATA_DAMAGED", Code.DataLoss],
    failed: ["INTERNAL", Code.Internal],
  };
  for (const [kind, [reason, code, retryAfterMs]] of Object.entries(KINDS)) {
    it(`${kind} is ${reason} for clients`, async () => {
      const artifacts = await servers().open();
      await using server = await startTestServer({ artifacts });
      artifacts.driver.interceptor = {
        before(call) {
          if (puts(/\/data\//)(call)) throw new StoreError(kind as StoreErrorKind, "the store's words");
        },
      };
      const failure: Failure = await failureFrom(() => clientOf(server.url).upload(uploadMessages({ run: "r" }, { a: "1" })));
      assert.deepEqual([failure.reason, failure.code, failure.retryAfterMs], [reason, code, retryAfterMs]);
      if (reason !== "INTERNAL") assert.equal(failure.message, "the store's words");
    });
  }

  it("is told as long as the store asked to wait, and a fault only in the log, under the request's id", async () => {
    const artifacts = await servers().open();
    await using server = await startTestServer({ artifacts });
    const fail = (error: Error) => {
      artifacts.driver.interceptor = {
        before() {
          throw error;
        },
      };
    };
    fail(new StoreError("temporary", "slow down", { retryAfterMs: 2_500 }));
    assert.equal((await failureFrom(() => clientOf(server.url).getRun({ run: "r" }))).retryAfterMs, 2_500);
    fail(new TypeError("secret inner detail"));
    const { message, reason } = await failureFrom(() => clientOf(server.url).getRun({ run: "r" }));
    assert.equal(reason, "INTERNAL");
    assert.doesNotMatch(message, /secret/);
    const id = /request (\S+)$/.exec(message)?.[1];
    assert.ok(server.log.some((line) => line["requestId"] === id && JSON.stringify(line["err"]).includes("secret inner detail")));
  });
});
