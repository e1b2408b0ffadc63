/** Runs the cases of `test/vectors/cases.json` with the TypeScript client, or with anything that does as it does. */
import { strict as assert } from "node:assert";
import fs from "node:fs";
import { join } from "node:path";
import { type ArtifactsClient, createClient } from "../../src/client/client.ts";
import { DstackError } from "../../src/client/errors.ts";
import type { Entry } from "../../src/client/results.ts";
import { formatCrc32c } from "../../src/lib/crc32c.ts";
import { checkTree, makeTree, type TreeEntry } from "../support/tree.ts";
import { SERVER_RUN, tempFolder } from "./support.ts";

type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };
type Fields = Readonly<Record<string, Json>>;
type Args = Readonly<Record<string, string>>;

interface Step {
  readonly make?: readonly TreeEntry[];
  readonly remove?: readonly string[];
  readonly upload?: Args;
  readonly download?: Args;
  readonly create_tag?: Args & { readonly commit?: number };
  readonly list?: Args & { readonly recursive?: boolean };
  readonly tree?: string;
  readonly remove_partials?: string;
  readonly count?: number;
  readonly entries?: readonly Fields[];
  readonly result?: Fields;
  readonly error?: { readonly class: string; readonly contains: readonly string[] };
}

/** A failure of which nothing but the message is known. */
export class OnlyAMessage extends DstackError {}

export interface Case {
  readonly name: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly steps: readonly Step[];
}

const GENERATED = /^[a-z]+-[a-z]+-[1-9][0-9]*$/;

/** What the cases ask of a client. */
export type CaseClient = Pick<ArtifactsClient, "upload" | "download" | "createTag" | "list" | "close">;

export interface CaseClientOptions {
  readonly url: string;
  readonly project: string;
  /** All that the client knows of the environment. */
  readonly env: Readonly<Record<string, string>>;
}

/** Does the steps in a folder of their own, in the project that is named. */
export async function runCase(
  each: Case,
  url: string,
  project: string,
  open: (options: CaseClientOptions) => CaseClient = createClient,
): Promise<void> {
  const before = { cwd: process.cwd(), home: process.env["HOME"] };
  using folder = tempFolder();
  const cwd = join(folder.path, "work");
  const home = join(folder.path, "home");
  fs.mkdirSync(cwd);
  fs.mkdirSync(home);
  const client = open({ url, project, env: each.env ?? {} });
  try {
    process.chdir(cwd);
    process.env["HOME"] = home;
    const names: Record<string, string> = { cwd, server_run: SERVER_RUN };
    for (const [index, step] of each.steps.entries()) {
      try {
        await runStep(client, fill(step, names) as Step, names);
      } catch (error) {
        throw new Error(`step ${index + 1} ${JSON.stringify(step).slice(0, 200)}: ${(error as Error).message}`, { cause: error });
      }
    }
  } finally {
    process.chdir(before.cwd);
    if (before.home === undefined) delete process.env["HOME"];
    else process.env["HOME"] = before.home;
    await client.close();
  }
}

async function runStep(client: CaseClient, step: Step, names: Record<string, string>): Promise<void> {
  if (step.make) makeTree(".", step.make);
  else if (step.remove) for (const path of step.remove) fs.rmSync(path);
  else if (step.tree !== undefined) checkTree(step.tree, step.entries as readonly TreeEntry[]);
  else if (step.remove_partials !== undefined) {
    const partials = fs.readdirSync(step.remove_partials).filter((name) => name.endsWith(".partial"));
    assert.equal(partials.length, step.count);
    for (const name of partials) fs.rmSync(join(step.remove_partials, name));
  } else if (step.upload) {
    const { local_path = "", artifact_path: artifactPath, ...target } = step.upload;
    const options = { ...target, localPath: local_path, artifactPath, onSkipped: () => {} };
    const uploaded = await expectEnd(step, () => client.upload(options as Parameters<ArtifactsClient["upload"]>[0]));
    if (uploaded) names["run"] = uploaded.run;
  } else if (step.download) {
    const { local_path: localPath, artifact_path: artifactPath, ...reference } = step.download;
    await expectEnd(step, () => client.download({ ...reference, artifactPath, localPath }));
  } else if (step.create_tag) {
    const { tag = "", run = "", commit, path } = step.create_tag;
    await client.createTag(tag, { run, commit: commit as number | undefined, path });
  } else if (step.list) {
    const listing = await client.list(step.list);
    assert.equal(listing.entries.length, step.entries?.length, "number of entries");
    for (const [i, expected] of (step.entries ?? []).entries()) checkFields(fieldsOf(listing.entries[i] as Entry), expected);
    checkFields({ files: listing.files, bytes: listing.bytes }, step.result ?? {});
  } else throw new Error("no such step");
}

async function expectEnd<T extends object>(step: Step, act: () => Promise<T>): Promise<T | undefined> {
  const { error: expected, result = {} } = step;
  if (!expected) {
    const got = await act();
    checkFields(got as unknown as Fields, result);
    return got;
  }
  let failure: unknown;
  try {
    await act();
  } catch (error) {
    failure = error;
  }
  assert.ok(failure instanceof DstackError, `a ${expected.class} was expected, not ${failure}`);
  // A message alone, as the command line gives it, has no class.
  if (!(failure instanceof OnlyAMessage)) assert.equal(failure.name, expected.class, failure.message);
  assert.ok(!failure.message.includes("\n"), `more than one line: ${failure.message}`);
  for (const text of expected.contains) assert.ok(failure.message.includes(text), `${JSON.stringify(failure.message)} lacks ${text}`);
  return undefined;
}

function checkFields(got: Fields, expected: Fields): void {
  for (const [name, value] of Object.entries(expected)) {
    if (value === "{generated}") assert.match(String(got[name]), GENERATED, name);
    else assert.equal(got[name], value, name);
  }
}

function fieldsOf(entry: Entry): Fields {
  const { path, type, size, mode, mtimeNs, crc32c, linkTarget } = entry;
  return {
    path,
    type,
    size,
    mode: mode === null ? null : mode.toString(8),
    mtime_ns: mtimeNs === null ? null : String(mtimeNs),
    crc32c: crc32c === null ? null : formatCrc32c(crc32c),
    link_target: linkTarget,
  };
}

/** A step with the names that it stands for in its strings. */
function fill(value: unknown, names: Readonly<Record<string, string>>): unknown {
  if (typeof value === "string") return value.replace(/\{(cwd|run|server_run)\}/g, (_, name: string) => names[name] ?? `no ${name} yet`);
  if (Array.isArray(value)) return value.map((each) => fill(each, names));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, fill(each, names)]));
}
