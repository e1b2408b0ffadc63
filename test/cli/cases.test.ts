/** The cases that all languages share, done by the command line. */
import fs from "node:fs";
import { type Case, type CaseClient, type CaseClientOptions, OnlyAMessage, runCase } from "../client/cases.ts";
import { SERVER_RUN, type TempFolder, tempFolder } from "../client/support.ts";
import { cli, installed, type Served, serve } from "./installed.ts";

/** A client whose every call is a command. */
function commandLine({ url, project, env }: CaseClientOptions): CaseClient {
  async function run(args: readonly (string | undefined)[]) {
    const [name = "", ...rest] = args.filter((arg) => arg !== undefined);
    const home = process.env["HOME"] ?? "";
    const { code, stdout, stderr } = await cli([name, "--json", ...rest], {
      env: { ...env, HOME: home, DSTACK_ARTIFACTS_URL: url, DSTACK_PROJECT: project },
    });
    if (code === 0) return JSON.parse(stdout);
    throw new OnlyAMessage(stderr.replace(/^(warning: .*\n)*error: /, "").replace(/\n$/, ""));
  }
  const flags = (options: Readonly<Record<string, unknown>>, names: readonly string[]) =>
    names.flatMap((name) => (options[name] === undefined ? [] : [`--${name}=${options[name]}`]));
  const reference = ({ run: name, tag, commit }: { run?: string | undefined; tag?: string | undefined; commit?: number | undefined }) =>
    tag !== undefined ? `:${tag}` : commit === undefined ? (name ?? "") : `${name}@${commit}`;

  return {
    upload: (options) =>
      run(["upload", ...flags({ ...options }, ["run", "tag", "symlinks"]), "--", options.localPath, options.artifactPath]),
    download: ({ artifactPath, localPath, ...target }) =>
      run(["download", "--", reference(target), artifactPath ?? (localPath === undefined ? undefined : ""), localPath]),
    createTag: (tag, { run: name, commit, path }) => run(["tags", "create", "--", tag, reference({ run: name, commit }), path]),
    async list({ prefix, recursive, ...target }) {
      const listing = await run(["ls", ...(recursive ? ["-r"] : []), "--", reference(target), prefix]);
      const entries = listing.entries.map(({ mode, mtime, crc32c, target: linkTarget, ...entry }: Record<string, string | null>) => ({
        ...entry,
        mode: mode ? Number.parseInt(mode, 8) : null,
        mtimeNs: mtime ? nanosecondsOf(mtime) : null,
        crc32c: crc32c ? Number.parseInt(crc32c, 16) : null,
        linkTarget,
      }));
      return { ...listing, entries };
    },
    close: async () => {},
  };
}

function nanosecondsOf(time: string): bigint {
  const [whole, fraction = ""] = time.replace("Z", "").split(".");
  return BigInt(Date.parse(`${whole}Z`)) * 1_000_000n + BigInt(fraction.padEnd(9, "0"));
}

/** A command line always names exactly one of run and tag. */
const NOT_SAID_IN_COMMANDS = new Set(["neither run nor tag is an error", "both run and tag are an error"]);

describe("cases that all languages share, by the command line", function () {
  this.timeout(300_000);
  let folder: TempFolder;
  let server: Served;
  before(async () => {
    await installed();
    folder = tempFolder();
    server = await serve(["--store", "memory:", "--listen", `unix://${folder.path}/s.sock`, "--run", SERVER_RUN]);
  });
  after(async () => {
    await server?.stop();
    folder?.[Symbol.dispose]();
  });
  const { cases } = JSON.parse(fs.readFileSync(new URL("../vectors/cases.json", import.meta.url), "utf8")) as { cases: Case[] };
  for (const [n, each] of cases.entries())
    if (!NOT_SAID_IN_COMMANDS.has(each.name)) it(each.name, () => runCase(each, server.url, `case-${n}`, commandLine));
});
