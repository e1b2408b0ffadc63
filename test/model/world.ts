/**
 * A world of several servers on one store, in which operations run whole, die at a chosen call to the store, or sleep before or after
 * one; and what must hold in it, told from the logs in the store and a plain model of what they mean.
 */
import assert from "node:assert/strict";
import { fromBinary } from "@bufbuild/protobuf";
import { BlockSchema, LogEntrySchema, type Manifest, TagEntrySchema } from "../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { ArtifactsFailure } from "../../src/artifacts/errors.ts";
import { isOurs } from "../../src/artifacts/keys.ts";
import type { Artifacts, Committed } from "../../src/artifacts/types.ts";
import { crc32c } from "../../src/lib/crc32c.ts";
import { isWithin } from "../../src/lib/paths.ts";
import { StoreError } from "../../src/store/driver.ts";
import { bytesOf, countsOf, type Files, PROJECT, type Servers, servers, show } from "../support/domain.ts";

export const HOUR = 60 * 60 * 1000;
export const RUNS = ["r1", "r2"];
export const TAGS = ["t1", "t2"];
const PATHS = ["a", "a/x", "b", "c/d", "c/d/e"];

/** What happens at the n-th call to the store of an operation, counted from 1. */
export interface Fault {
  readonly kind: "die" | "sleep";
  readonly at: number;
  readonly when: "before" | "after";
}

export type Step =
  | { readonly kind: "upload"; readonly run: number; readonly paths: readonly number[]; readonly fault: Fault | undefined }
  | { readonly kind: "uploadTag"; readonly tag: number; readonly paths: readonly number[]; readonly fault: Fault | undefined }
  | { readonly kind: "copy"; readonly from: number; readonly to: number; readonly fault: Fault | undefined }
  | { readonly kind: "createTag"; readonly tag: number; readonly run: number; readonly fault: Fault | undefined }
  | { readonly kind: "deleteTag"; readonly tag: number; readonly fault: Fault | undefined }
  | { readonly kind: "deleteRun"; readonly run: number; readonly force: boolean; readonly fault: Fault | undefined }
  | { readonly kind: "abort"; readonly which: number }
  | { readonly kind: "retry"; readonly which: number; readonly fault: Fault | undefined }
  | { readonly kind: "wake"; readonly which: number }
  | { readonly kind: "collect"; readonly passMs: number; readonly fault: Fault | undefined };

type Deed = Pick<Operation, "id" | "on" | "attempt">;

interface Operation {
  readonly id: string;
  /** What it is about, for those that make an entry in a log. */
  readonly on: { readonly run?: string; readonly tag?: string; readonly does: "commit" | "tag" | "untag" | "delete" | "collect" };
  readonly began: number;
  readonly beganMs: number;
  ended: number | undefined;
  outcome: "running" | "died" | "acknowledged" | "refused" | "forgotten";
  /** The number that it got in its log, once it is known. */
  seq: number | undefined;
  attempt(server: Artifacts): Promise<number | undefined>;
}

/** Refusals that say that the operation has not happened and never will. */
const FINAL = new Set([
  "UPLOAD_GONE",
  "TAG_EXISTS",
  "TAG_NOT_FOUND",
  "RUN_NOT_FOUND",
  "RUN_HAS_TAGS",
  "COMMIT_NOT_FOUND",
  "PATH_CONFLICT",
  "RUN_RESERVED",
]);

/** So little data fills several objects, and a few commits make a snapshot. */
const SETTINGS = { dataObjectBytes: 16, commitsPerSnapshot: 3 };

export class World {
  readonly #all: Servers;
  #nowMs = Date.UTC(2026, 0, 1);
  #moment = 0;
  #serial = 0;
  readonly #operations: Operation[] = [];
  readonly #sleepers: { wake(): void; done: Promise<void> }[] = [];
  /** What each upload brings, by id. */
  readonly #files = new Map<string, Files>();
  #reader: Artifacts | undefined;
  readonly counts = { steps: 0, deaths: 0, sleeps: 0, collected: 0 };

  constructor() {
    this.#all = servers({ now: () => this.#nowMs });
  }

  async take(step: Step): Promise<void> {
    this.counts.steps++;
    switch (step.kind) {
      case "upload":
        return this.#begin(step.fault, this.#upload({ run: RUNS[step.run] as string }, step.paths));
      case "uploadTag":
        return this.#begin(step.fault, this.#upload({ tag: TAGS[step.tag] as string }, step.paths));
      case "copy": {
        const id = this.#id("copy");
        const query = {
          project: PROJECT,
          source: { run: RUNS[step.from] as string },
          sourcePath: "",
          run: RUNS[step.to] as string,
          requestId: id,
        };
        return this.#begin(step.fault, {
          id,
          on: { run: query.run, does: "commit" },
          attempt: async (server) => (await server.copy(query)).commit,
        });
      }
      case "createTag": {
        const id = this.#id("tag");
        const target = { run: RUNS[step.run] as string, requestId: id };
        return this.#begin(step.fault, {
          id,
          on: { tag: TAGS[step.tag] as string, run: target.run, does: "tag" },
          attempt: async (server) => void (await server.createTag(PROJECT, TAGS[step.tag] as string, target)),
        });
      }
      case "deleteTag": {
        const id = this.#id("untag");
        return this.#begin(step.fault, {
          id,
          on: { tag: TAGS[step.tag] as string, does: "untag" },
          attempt: async (server) => server.deleteTag(PROJECT, TAGS[step.tag] as string, { requestId: id }) as Promise<undefined>,
        });
      }
      case "deleteRun": {
        const id = this.#id("delete");
        const how = { force: step.force, requestId: id };
        return this.#begin(step.fault, {
          id,
          on: { run: RUNS[step.run] as string, does: "delete" },
          attempt: async (server) => void (await server.deleteRun(PROJECT, RUNS[step.run] as string, how)),
        });
      }
      case "abort": {
        const uploads = [...this.#files.keys()];
        const id = uploads[step.which % Math.max(1, uploads.length)];
        if (id) await (await this.#open()).abortUpload(PROJECT, id).catch(expectRefusal);
        return;
      }
      case "retry": {
        const died = this.#operations.filter((operation) => operation.outcome === "died");
        const operation = died[step.which % Math.max(1, died.length)];
        if (operation) await this.#retry(operation, step.fault);
        return;
      }
      case "wake": {
        const [sleeper] = this.#sleepers.splice(step.which % Math.max(1, this.#sleepers.length), 1);
        sleeper?.wake();
        return sleeper?.done;
      }
      case "collect": {
        this.#nowMs += step.passMs;
        await this.#begin(step.fault, {
          id: this.#id("collect"),
          on: { does: "collect" },
          attempt: async (server) => {
            for await (const progress of server.collectGarbage({ graceMs: HOUR }))
              this.counts.collected = Math.max(this.counts.collected, progress.deletedObjects);
            return undefined;
          },
        });
        return this.check();
      }
    }
  }

  /** Wakes all sleepers, tries again what died, and looks at everything. */
  async settle(): Promise<void> {
    for (const sleeper of this.#sleepers.splice(0)) {
      sleeper.wake();
      await sleeper.done;
    }
    for (const operation of this.#operations) if (operation.outcome === "died") await this.#retry(operation, undefined);
    await this.check();
    // What nobody needs goes, and nothing else.
    for (let i = 0; i < 3; i++) {
      this.#nowMs += 2 * HOUR;
      for await (const _ of (await this.#open()).collectGarbage({ graceMs: HOUR }));
    }
    await this.check();
    assert.ok(this.#operations.every(({ outcome }) => outcome !== "running" && outcome !== "died"));
  }

  /** What must hold at any moment. */
  async check(): Promise<void> {
    for (const key of this.#all.store.keys) assert.ok(isOurs(key), `${key} would be in no listing`);
    const fresh = await this.#open();
    this.#reader ??= await this.#open();
    for (const server of [fresh, this.#reader]) {
      const runs = new Map<string, Record<string, string>>();
      for (const { name } of (await server.listRuns(PROJECT)).runs) runs.set(name, await show(server, { run: name }));
      assert.deepEqual(Object.fromEntries(runs), this.#expectedRuns());
      for (const tag of (await server.listTags(PROJECT)).tags) {
        assert.deepEqual(await show(server, { tag: tag.name }), this.#viewAt(tag.run, tag.commit), `tag ${tag.name}`);
      }
      assert.deepEqual(
        (await server.listTags(PROJECT)).tags.map(({ name, run, commit }) => ({ name, run, commit })),
        this.#expectedTags(),
      );
    }
    for (const kind of ["log", "tags"]) this.#checkOrder(kind);
    this.#checkTags();
    this.#checkRuns();
  }

  #upload(target: { run: string } | { tag: string }, paths: readonly number[]): Deed {
    const id = this.#id("upload");
    const names = paths.map((path) => PATHS[path] as string);
    const files = Object.fromEntries(
      names.filter((path) => !names.some((other) => other !== path && isWithin(other, path))).map((path) => [path, `${id} ${path}`]),
    );
    this.#files.set(id, files);
    const on = { ...target, does: "commit" } as const;
    return { id, on, attempt: async (server) => (await uploadRest(server, { ...target, uploadId: id }, files)).commit };
  }

  #open(): ReturnType<Servers["open"]> {
    return this.#all.open({ settings: SETTINGS });
  }

  #id(kind: string): string {
    return `${kind}-${String(++this.#serial).padStart(16, "0")}`;
  }

  async #begin(fault: Fault | undefined, deed: Deed): Promise<void> {
    const operation: Operation = {
      ...deed,
      began: ++this.#moment,
      beganMs: this.#nowMs,
      ended: undefined,
      outcome: "running",
      seq: undefined,
    };
    this.#operations.push(operation);
    await this.#attemptWith(fault, operation);
  }

  // Comes back when the operation has ended, or its server sleeps. What nothing strikes is done by a server that lives on, with what it remembers.
  async #attemptWith(fault: Fault | undefined, operation: Operation): Promise<void> {
    if (!fault && this.#reader) return this.#attempt(operation, this.#reader);
    const server = await this.#open();
    let fallAsleep = (_wake: () => void): void => {};
    const asleep = new Promise<() => void>((resolve) => (fallAsleep = resolve));
    if (fault) server.driver.interceptor = this.#faulty(fault, fallAsleep);
    const done = this.#attempt(operation, server);
    const wake = await Promise.race([done, asleep]);
    if (wake) this.#sleepers.push({ wake, done });
  }

  #faulty(fault: Fault, fallAsleep: (wake: () => void) => void) {
    let calls = 0;
    let struck = false;
    let dead = false;
    const strike = async (when: Fault["when"]): Promise<void> => {
      if (dead) throw new Death();
      if (when === "before") calls++;
      if (struck || calls !== fault.at || when !== fault.when) return;
      struck = true;
      if (fault.kind === "die") {
        dead = true;
        this.counts.deaths++;
        throw new Death();
      }
      this.counts.sleeps++;
      await new Promise<void>(fallAsleep);
    };
    return { before: () => strike("before"), after: () => strike("after") };
  }

  // A request is safe to send again within the grace period; after that, garbage collection may have forgotten that it was made.
  async #retry(operation: Operation, fault: Fault | undefined): Promise<void> {
    if (operation.on.does === "collect" || this.#nowMs - operation.beganMs >= HOUR) operation.outcome = "forgotten";
    else await this.#attemptWith(fault, operation);
  }

  async #attempt(operation: Operation, server: Artifacts): Promise<void> {
    operation.outcome = "running";
    try {
      operation.seq = await operation.attempt(server);
      operation.outcome = "acknowledged";
    } catch (error) {
      if (error instanceof Death) operation.outcome = "died";
      else if (error instanceof ArtifactsFailure && FINAL.has(error.reason)) operation.outcome = "refused";
      else throw error;
    } finally {
      // The effect of an operation that died may still come, by whoever completes it.
      if (operation.outcome !== "died") operation.ended = ++this.#moment;
    }
  }

  // The logs as they are in the store, oldest first.
  #log(run: string) {
    return this.#entries(`${PROJECT}/log/${run}/`).map(({ bytes }, i) => ({ seq: i + 1, entry: fromBinary(LogEntrySchema, bytes) }));
  }

  #entries(prefix: string): { key: string; bytes: Uint8Array }[] {
    const keys = this.#all.store.keys.filter((key) => key.startsWith(prefix)).reverse();
    return keys.map((key, i) => {
      assert.equal(10 ** 12 - Number(key.slice(-12)), i + 1, `${prefix} is numbered without gaps`);
      return { key, bytes: (this.#all.store.byKey.get(key) as { bytes: Uint8Array }).bytes };
    });
  }

  #expectedRuns(): Record<string, Record<string, string>> {
    const prefix = `${PROJECT}/log/`;
    const names = new Set(
      this.#all.store.keys.filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length, key.lastIndexOf("/"))),
    );
    const shown: Record<string, Record<string, string>> = {};
    for (const name of [...names].sort()) {
      const log = this.#log(name);
      const lastDeletion = log.findLastIndex(({ entry }) => entry.change.case === "deletion");
      if (log.slice(lastDeletion + 1).some(({ entry }) => entry.change.case === "commit")) shown[name] = this.#viewAt(name, log.length);
    }
    return shown;
  }

  // The plain meaning of a log: newer over older since the last deletion before `seq`.
  #viewAt(run: string, seq: number): Record<string, string> {
    let view: Record<string, string> = {};
    for (const { entry } of this.#log(run).slice(0, seq)) {
      if (entry.change.case === "deletion") view = {};
      if (entry.change.case !== "commit") continue;
      const added = this.#filesOf(entry.id, entry.change.value.manifest);
      const kept = Object.entries(view).filter(([old]) => !Object.keys(added).some((path) => isWithin(old, path) || isWithin(path, old)));
      view = { ...Object.fromEntries(kept), ...added };
    }
    return view;
  }

  #tagLog(tag: string) {
    return this.#entries(`${PROJECT}/tags/${tag}/`).map(({ bytes }) => fromBinary(TagEntrySchema, bytes));
  }

  #expectedTags(): { name: string; run: string; commit: number }[] {
    return TAGS.flatMap((name) => {
      const change = this.#tagLog(name).at(-1)?.change;
      return change?.case === "set" ? [{ name, run: change.value.run, commit: Number(change.value.seq) }] : [];
    });
  }

  #operation(id: string): Operation {
    const operation = this.#operations.find((one) => one.id === id.replace(/-again$/, ""));
    assert.ok(operation, `${id} is nobody's`);
    return operation;
  }

  // A tag is set only where it is not, and taken away only by who meant it: each log is what some order of the operations gives.
  #checkTags(): void {
    for (const tag of TAGS) {
      let shown: { run: string; seq: bigint } | undefined;
      const made = new Set<string>();
      for (const { id, change } of this.#tagLog(tag)) {
        const { on, outcome, began } = this.#operation(id);
        made.add(id);
        if (change.case === "set") {
          assert.ok(!shown, `${id} set ${tag}, which was set`);
          assert.ok(on.tag === tag && on.does !== "untag", `${id} did not mean to set ${tag}`);
          assert.notEqual(outcome, "refused", `${id} was refused, and set ${tag}`);
          shown = change.value;
          const { run, seq } = change.value;
          const deletion = this.#log(run).find((entry) => entry.seq > seq && entry.entry.change.case === "deletion");
          const ended = deletion && this.#operation(deletion.entry.id).ended;
          assert.ok(!ended || ended > began, `${id} tagged a commit that was deleted before`);
        } else if (shown) {
          assert.ok(on.tag === tag ? on.does === "untag" : on.does === "delete" && on.run === shown.run, `${id} took ${tag} away`);
          shown = undefined;
        } else assert.ok(on.tag === tag && outcome !== "acknowledged", `${id} took ${tag} away, which was not set`);
      }
      for (const { id, on, outcome } of this.#operations) {
        if (outcome === "acknowledged" && on.tag === tag) assert.ok(made.has(id), `${id} was acknowledged`);
      }
    }
  }

  // Runs are deleted by who meant it, once; and who was answered did it.
  #checkRuns(): void {
    for (const run of RUNS) {
      const deletions = this.#log(run).flatMap(({ entry }) => (entry.change.case === "deletion" ? [entry.id] : []));
      for (const id of deletions) assert.deepEqual(this.#operation(id).on, { run, does: "delete" });
      for (const { id, on, outcome } of this.#operations) {
        if (on.run !== run || on.does !== "delete") continue;
        if (outcome === "acknowledged") assert.ok(deletions.includes(id), `${id} was acknowledged`);
        if (outcome === "refused") assert.ok(!deletions.includes(id), `${id} was refused`);
      }
    }
  }

  #isVoid(kind: string, id: string, bytes: Uint8Array | undefined): boolean {
    if (!bytes) return false;
    if (kind === "log") return fromBinary(LogEntrySchema, bytes).change.case === "void";
    const setter = this.#operations.find(
      (operation) => operation.id === id && (operation.on.does === "tag" || operation.on.does === "commit"),
    );
    return setter !== undefined && fromBinary(TagEntrySchema, bytes).change.case === "removal";
  }

  // A copy brings what its source showed; its manifest says which paths, and each content names its path and upload.
  #filesOf(id: string, manifest: Manifest | undefined): Files & Record<string, string> {
    const own = this.#files.get(id);
    if (own) return own as Record<string, string>;
    const known = [...this.#files.values()];
    const { entries } = fromBinary(BlockSchema, manifest?.content.case === "block" ? manifest.content.value : new Uint8Array());
    return Object.fromEntries(entries.map(({ path, crc32c }) => [path, this.#contentOf(path, crc32c, known)]));
  }

  #contentOf(path: string, crc: number, known: readonly Files[]): string {
    for (const files of known) {
      const content = files[path];
      if (typeof content === "string" && checksum(content) === crc) return content;
    }
    throw new Error(`nobody uploaded ${path} with checksum ${crc}`);
  }

  // Numbers follow time: what ended before another began comes before it. And who was answered is there, once.
  #checkOrder(kind: string): void {
    const prefix = `${PROJECT}/${kind}/`;
    const names = new Set(
      this.#all.store.keys.filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length, key.lastIndexOf("/"))),
    );
    for (const name of names) {
      const entries = this.#entries(`${prefix}${name}/`);
      const ids = entries.map(({ bytes }) => (kind === "log" ? fromBinary(LogEntrySchema, bytes) : fromBinary(TagEntrySchema, bytes)).id);
      assert.equal(new Set(ids).size, ids.length, `each operation is in ${prefix}${name} once`);
      // What garbage collection put in an upload's place says that it never happens; that is not the upload's own doing.
      const operations = ids.map((id, i) =>
        this.#isVoid(kind, id, entries[i]?.bytes) ? undefined : this.#operations.find((operation) => operation.id === id),
      );
      for (const [i, later] of operations.entries()) {
        if (!later) continue;
        for (const earlier of operations.slice(0, i)) {
          assert.ok(!earlier || !later.ended || later.ended > earlier.began, `${earlier?.id} is before ${later.id} although it came later`);
        }
        if (kind === "log" && later.outcome === "acknowledged" && later.seq !== undefined)
          assert.equal(later.seq, i + 1, `${later.id} was told its number`);
      }
    }
    if (kind !== "log") return;
    const logged = new Set(
      this.#all.store.keys
        .filter((key) => key.startsWith(prefix))
        .map((key) => fromBinary(LogEntrySchema, (this.#all.store.byKey.get(key) as { bytes: Uint8Array }).bytes))
        .filter((entry) => entry.change.case !== "void")
        .map((entry) => entry.id),
    );
    for (const operation of this.#operations) {
      if (operation.on.does !== "commit") continue;
      if (operation.outcome === "acknowledged") assert.ok(logged.has(operation.id), `${operation.id} was acknowledged`);
      if (operation.outcome === "refused") assert.ok(!logged.has(operation.id), `${operation.id} was refused`);
    }
  }
}

/** Sends what the store doesn't have of the files. */
async function uploadRest(server: Artifacts, target: { run?: string; tag?: string; uploadId: string }, files: Files): Promise<Committed> {
  const known = await server.getUpload(PROJECT, target.uploadId).catch((error: unknown) => {
    expectRefusal(error);
    return undefined;
  });
  const session = await server.startUpload({ project: PROJECT, ...target });
  try {
    for (const [path, content] of Object.entries(files)) {
      const bytes = bytesOf(content);
      await session.file({ path, type: "file", size: bytes.length, mtimeNs: 1n });
      let at = 0;
      for (const { offset, length } of known?.files.find((file) => file.path === path)?.spans ?? []) {
        if (offset > at) await session.chunk(bytes.subarray(at, offset));
        await session.skip(length);
        at = offset + length;
      }
      await session.chunk(bytes.subarray(at));
      await session.endFile({ size: bytes.length, crc32c: crc32c(bytes) });
    }
    return await session.finish(countsOf(files));
  } finally {
    await session.close();
  }
}

/** The server's death, for everything that it does from then on. */
class Death extends StoreError {
  constructor() {
    super("failed", "the server is dead");
  }
}

function expectRefusal(error: unknown): void {
  if (!(error instanceof ArtifactsFailure)) throw error;
}

function checksum(text: string): number {
  return crc32c(Buffer.from(text));
}
