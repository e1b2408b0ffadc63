import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { chmod, writeFile } from "node:fs/promises";
import { request as requestHttp1 } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { ConnectError, createClient } from "@connectrpc/connect";
import { ArtifactsService } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { ServerReflection } from "../../gen/ts/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionAlpha } from "../../gen/ts/grpc/reflection/v1alpha/reflection_pb.ts";
import { Health } from "../../gen/ts/health/v1/health_pb.ts";
import { loadTokens, parseTokens } from "../../src/server/tokens.ts";
import { failureOf } from "../../src/wire/status.ts";
import {
  type ArtifactsClient,
  all,
  clientOf,
  openCall,
  reasonOf,
  startTestServer,
  statusOf,
  stream,
  type TestServer,
  TRANSPORTS,
  toRun,
  uploadMessages,
  withFolder,
  withSession,
} from "./support.ts";

/** Who calls: the header that it sends. The scope and project of each token are its name. */
const TOKENS = ["read", "write", "admin", "read@p", "write@p", "admin@p"] as const;
type Who = "nobody" | "a stranger" | (typeof TOKENS)[number];
const WHO: readonly Who[] = ["nobody", "a stranger", ...TOKENS];
const secretOf = (who: Who) => `secret-${who.replace("@", "-of-")}-0123456789`;
const TOKEN_FILE = TOKENS.map((who) => `${secretOf(who)} ${who.replace("@", " ")}`).join("\n");
const headersOf = (who: Who): Record<string, string> => (who === "nobody" ? {} : { authorization: `Bearer ${secretOf(who)}` });

/** What each call needs, in words of this file alone: a change of the server's table must be made here too. */
const CALLS: Readonly<
  Record<string, { needs: "read" | "write" | "admin"; call: (client: ArtifactsClient, project: string) => Promise<unknown> }>
> = {
  Upload: { needs: "write", call: (client, project) => client.upload(uploadMessages({ project, run: "r" }, { a: "1" })) },
  GetUpload: { needs: "read", call: (client, project) => client.getUpload({ project, uploadId: randomUUID() }) },
  ListUploads: { needs: "read", call: (client, project) => client.listUploads({ project }) },
  AbortUpload: { needs: "write", call: (client, project) => client.abortUpload({ project, uploadId: randomUUID() }) },
  Download: { needs: "read", call: (client, project) => all(client.download({ project, reference: toRun("nobody") })) },
  ListEntries: { needs: "read", call: (client, project) => client.listEntries({ project, reference: toRun("nobody") }) },
  GetRun: { needs: "read", call: (client, project) => client.getRun({ project, run: "nobody" }) },
  ListRuns: { needs: "read", call: (client, project) => client.listRuns({ project }) },
  DeleteRun: { needs: "write", call: (client, project) => client.deleteRun({ project, run: "nobody" }) },
  CreateTag: { needs: "write", call: (client, project) => client.createTag({ project, run: "nobody", tag: "t" }) },
  GetTag: { needs: "read", call: (client, project) => client.getTag({ project, tag: "nobody" }) },
  ListTags: { needs: "read", call: (client, project) => client.listTags({ project }) },
  DeleteTag: { needs: "write", call: (client, project) => client.deleteTag({ project, tag: "nobody" }) },
  Copy: { needs: "write", call: (client, project) => client.copy({ project, source: toRun("nobody"), run: "c" }) },
  Verify: { needs: "read", call: (client, project) => all(client.verify({ project, reference: toRun("nobody") })) },
};
const RANKS = { read: 0, write: 1, admin: 2 };

/** Whether somebody may do what needs a scope in a project; `undefined` is for what concerns all of them. */
function verdict(
  who: Who,
  needs: keyof typeof RANKS,
  project: string | undefined,
): "TOKEN_MISSING" | "TOKEN_INVALID" | "ACCESS_DENIED" | "let in" {
  if (who === "nobody") return "TOKEN_MISSING";
  if (who === "a stranger") return "TOKEN_INVALID";
  const [scope, own] = who.split("@") as [keyof typeof RANKS, string | undefined];
  if (RANKS[scope] < RANKS[needs]) return "ACCESS_DENIED";
  return own === undefined || own === project ? "let in" : "ACCESS_DENIED";
}

async function outcomeOf(act: () => Promise<unknown>): Promise<string> {
  const reason = await reasonOf(act);
  return ["TOKEN_MISSING", "TOKEN_INVALID", "ACCESS_DENIED"].includes(reason) ? reason : "let in";
}

describe("who may do what", () => {
  let server: TestServer;
  before(async () => {
    server = await startTestServer({ tokens: parseTokens(TOKEN_FILE, "test"), project: "p" });
  });
  after(() => server[Symbol.asyncDispose]());

  it("is said here for every call of the service", () => {
    const names = [...Object.keys(CALLS), "CollectGarbage", "GetServerInfo"];
    assert.deepEqual(names.sort(), ArtifactsService.methods.map(({ name }) => name).sort());
  });

  for (const way of ["gRPC", "Connect over HTTP/1.1"]) {
    for (const who of WHO) {
      describe(`${who}, by ${way}`, () => {
        const client = () => clientOf(server.url, headersOf(who), way);
        for (const [name, { needs, call }] of Object.entries(CALLS)) {
          for (const project of ["p", "q"]) {
            const expected = verdict(who, needs, project);
            it(`${name} in ${project}: ${expected}`, async () => {
              assert.equal(await outcomeOf(() => call(client(), project)), expected);
            });
          }
          it(`${name} in the server's own project, unnamed: ${verdict(who, needs, "p")}`, async () => {
            assert.equal(await outcomeOf(() => call(client(), "")), verdict(who, needs, "p"));
          });
        }
        const collects = verdict(who, "admin", undefined);
        it(`CollectGarbage: ${collects}`, async () => {
          assert.equal(await outcomeOf(() => all(client().collectGarbage({ dryRun: true }))), collects);
        });
        const anybody = who === "nobody" || who === "a stranger" ? verdict(who, "read", undefined) : "let in";
        it(`GetServerInfo: ${anybody}`, async () => {
          assert.equal(await outcomeOf(() => client().getServerInfo({})), anybody);
        });
      });
    }
  }

  for (const who of WHO) {
    const anybody = who === "nobody" || who === "a stranger" ? verdict(who, "read", undefined) : "let in";
    const transport = () => (TRANSPORTS["gRPC"] as (typeof TRANSPORTS)[string])(server.url, headersOf(who));
    it(`${who}, health: ${anybody}`, async () => {
      const health = createClient(Health, transport());
      assert.equal(await outcomeOf(() => health.check({})), anybody);
      assert.equal(await outcomeOf(() => health.list({})), anybody);
      const first = async () => {
        for await (const each of health.watch({})) return each;
        return undefined;
      };
      assert.equal(await outcomeOf(first), anybody);
    });
    it(`${who}, reflection of both versions: ${anybody}`, async () => {
      const ask = () => stream([{ messageRequest: { case: "listServices" as const, value: "" } }]);
      assert.equal(await outcomeOf(() => all(createClient(ServerReflection, transport()).serverReflectionInfo(ask()))), anybody);
      assert.equal(await outcomeOf(() => all(createClient(ServerReflectionAlpha, transport()).serverReflectionInfo(ask()))), anybody);
    });
    for (const path of [
      "/healthz",
      "/readyz",
      "/metrics",
      "/",
      "/nothing",
      "/metrics/../metrics",
      "/dstack.artifacts.v1.ArtifactsService/Nothing",
    ]) {
      it(`${who}, GET ${path}: ${anybody}`, async () => {
        const { status, headers } = await get(server.url + path, headersOf(who));
        if (anybody === "let in") assert.ok(status === 200 || status === 404, String(status));
        else assert.deepEqual([status, headers["www-authenticate"]], [401, "Bearer"]);
      });
    }
  }

  it("takes a token only as it is", async () => {
    const secret = secretOf("admin");
    for (const authorization of [
      secret,
      `Bearer ${secret.slice(0, -1)}`,
      `Bearer ${secret}x`,
      `Bearer ${secret.toUpperCase()}`,
      `Bearer ${secret} ${secret}`,
      `Bearer  `,
      "Bearer",
      "",
      `Basic ${Buffer.from(`x:${secret}`).toString("base64")}`,
      `Bearer ${secretOf("read")}, Bearer ${secret}`,
    ]) {
      assert.match(await outcomeOf(() => clientOf(server.url, { authorization }).getServerInfo({})), /^TOKEN_/, authorization);
    }
    for (const scheme of ["Bearer", "bearer", "BEARER"]) {
      assert.equal(await outcomeOf(() => clientOf(server.url, { authorization: `${scheme} ${secret}` }).getServerInfo({})), "let in");
    }
  });

  it("is decided before a byte of the body comes, on every call", async () => {
    await withSession(server.url, async (session) => {
      for (const { name } of ArtifactsService.methods) {
        const { answer } = openCall(session, name, { authorization: "Bearer wrong" });
        const { status, reason } = statusOf(await answer);
        assert.deepEqual([status, reason], [16, "TOKEN_INVALID"], name);
      }
    });
    const url = new URL(server.url);
    for (const { name } of ArtifactsService.methods) {
      const socket = connect(Number(url.port), url.hostname);
      socket.write(
        `POST /dstack.artifacts.v1.ArtifactsService/${name} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n`,
      );
      let text = "";
      socket.on("data", (part) => (text += part));
      await once(socket, "close");
      assert.match(text, /^HTTP\/1.1 401 .*connection: close.*"unauthenticated".*TOKEN_MISSING/is, name);
    }
  });

  it("is said in each protocol's own words", async () => {
    for (const transport of Object.keys(TRANSPORTS)) {
      const error = await clientOf(server.url, {}, transport)
        .getServerInfo({})
        .then(() => undefined, ConnectError.from);
      assert.ok(error);
      const { reason, message } = failureOf(error);
      assert.deepEqual([reason, message], ["TOKEN_MISSING", "a token is needed: set DSTACK_ARTIFACTS_TOKEN"], transport);
    }
    const { metadata } = failureOf(
      ConnectError.from(
        await clientOf(server.url, headersOf("read@p"))
          .deleteTag({ tag: "t" })
          .catch((error) => error),
      ),
    );
    assert.deepEqual(metadata, { scope: "write", project: "p" });
  });

  it("is never told in the log or in an answer by the secrets themselves", async () => {
    const secrets = [...TOKENS.map(secretOf), secretOf("a stranger")];
    const answers: string[] = [];
    for (const who of WHO) {
      for (const way of Object.keys(TRANSPORTS)) {
        const client = clientOf(server.url, headersOf(who), way);
        for (const act of [() => client.getRun({ run: "nobody" }), () => client.upload(uploadMessages({ run: "a b" }, {}))]) {
          await act().catch((error) => answers.push(JSON.stringify([String(error), [...ConnectError.from(error).metadata]])));
        }
      }
      answers.push(
        JSON.stringify(await get(`${server.url}/metrics`, headersOf(who))),
        JSON.stringify(await get(`${server.url}/x`, headersOf(who))),
      );
    }
    const log = JSON.stringify(server.log);
    assert.ok(server.log.length > 100 && answers.length > 50);
    for (const secret of secrets) {
      assert.ok(!log.includes(secret), secret);
      assert.ok(!answers.join().includes(secret), secret);
    }
  });
});

describe("a file of tokens", () => {
  const warnings: string[] = [];
  beforeEach(() => void warnings.splice(0));
  const load = (text: string, mode = 0o600) =>
    withFolder(async (folder) => {
      const path = join(folder, "tokens");
      await writeFile(path, text, { mode });
      await chmod(path, mode);
      return loadTokens(path, {}, (message) => warnings.push(message));
    });

  it("has a token a line, with its scopes and its project, comments and empty lines", async () => {
    const tokens = await load("# who may do what\n\nabc\n  def read   # a reader\nghi read,write p\r\njkl write,admin\nmno#pqr read\n");
    assert.deepEqual(
      tokens.map(({ name, scope, project }) => [name, scope, project]),
      [
        ["line 3", "admin", undefined],
        ["line 4", "read", undefined],
        ["line 5", "write", "p"],
        ["line 6", "admin", undefined],
        ["line 7", "read", undefined],
      ],
    );
    assert.ok(!JSON.stringify(tokens).includes("abc"));
  });

  for (const [what, text, problem] of [
    ["an unknown scope", "secret owner", /tokens, line 1: the second word must be scopes out of read, write, admin$/],
    ["a bad project", "secret read a/b", /line 1: the project must be 1 to 128/],
    ["too many words", "ok\nsecret read p more", /line 2: more than a token, its scopes and a project$/],
    ["characters that no header carries", "sécret", /line 1: the token has characters/],
    ["no token", "# nothing\n", /holds no token$/],
    ["too much", "x".repeat(1024 * 1024 + 1), /larger than 1048576 bytes$/],
  ] as const) {
    it(`is refused for ${what}, without a word of the token`, async () => {
      await assert.rejects(load(text), (error: Error) => {
        assert.match(error.message, problem);
        assert.doesNotMatch(error.message, /secret|sécret|\n/);
        return true;
      });
    });
  }

  it("is refused when others can write to it, or when it isn't there, and warned of when they can read it", async () => {
    for (const mode of [0o602, 0o666]) await assert.rejects(load("secret", mode), /can be written by other users: chmod 600/);
    assert.deepEqual(warnings, []);
    assert.equal((await load("secret", 0o640)).length, 1);
    assert.deepEqual(warnings, []);
    assert.equal((await load("secret", 0o604)).length, 1);
    assert.match(warnings.join("\n"), /^token file .+ can be read by other users: chmod 600 .+$/);
    await assert.rejects(loadTokens("/nowhere/tokens", {}, assert.fail), /^Error: token file \/nowhere\/tokens: no such file$/);
  });

  it("isn't needed where one token is in the environment, which allows everything", async () => {
    const tokens = await loadTokens(undefined, { DSTACK_ARTIFACTS_TOKEN: "secret" }, assert.fail);
    assert.deepEqual(
      tokens.map(({ name, scope, project }) => [name, scope, project]),
      [["DSTACK_ARTIFACTS_TOKEN", "admin", undefined]],
    );
    assert.deepEqual(await loadTokens(undefined, { DSTACK_ARTIFACTS_TOKEN: "" }, assert.fail), []);
    await assert.rejects(loadTokens(undefined, { DSTACK_ARTIFACTS_TOKEN: "two words" }, assert.fail), /characters that a token can't have/);
  });
});

describe("a server without tokens", () => {
  it("doesn't listen at TCP, on loopback neither, and says why", async () => {
    for (const url of ["http://127.0.0.1:0", "http://[::1]:0", "http://localhost:0"]) {
      await assert.rejects(startTestServer({ tokens: [], listen: [url] }), (error: Error) => {
        assert.equal(error.message, `${url} needs a token: set DSTACK_ARTIFACTS_TOKEN or give --token-file`);
        return true;
      });
    }
  });
});

async function get(url: string, headers: Record<string, string>) {
  const request = requestHttp1(url, { headers, agent: false });
  // As it is: a URL object would take out the dots.
  request.path = url.slice(new URL(url).origin.length);
  request.end();
  const [response] = await once(request, "response");
  let text = "";
  for await (const part of response) text += part;
  return { status: response.statusCode as number, headers: response.headers, text };
}
