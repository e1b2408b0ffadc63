/**
 * A world of several servers on one store, in which operations run whole, die at a chosen call to the store, or sleep before or after
 * one; and what must hold in it, told from the logs in the store and a plain model of what they mean.
 */
import assert from "node:assert/strict";
import { fromBinary } from "@bufbuild/protobuf";
import { LogEntrySchema, TagEntrySchema } from "../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { ArtifactsFailure } from "../../src/artifacts/errors.ts";
import type { Artifacts } from "../../src/artifacts/types.ts";
import { crc32c } from "../../src/lib/crc32c.ts";
import { isWithin } from "../../src/lib/paths.ts";
import { StoreError } from "../../src/store/driver.ts";
import { type Files, PROJECT, type Servers, servers, show, upload } from "../support/domain.ts";
import type { Call } from "../support/intercepted-driver.ts";

export const HOUR = 60 * 60 * 1000;
export const RUNS = ["r1", "r2"];
export const TAGS = ["t1", "t2"];
const PATHS = ["a", "a/x", "b", "c/d", "c/d/e"];

/** What happens at the n-th put of an operation, counted from 1. */
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
  | { readonly kind: "retry"; readonly which: number }
  | { readonly kind: "wake"; readonly which: number }
  | { readonly kind: "collect"; readonly passMs: number };

interface Operation {
  readonly id: string;
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
        return this.#begin(step.fault, { id, attempt: async (server) => (await server.copy(query)).commit });
      }
      case "createTag": {
        const id = this.#id("tag");
        const target = { run: RUNS[step.run] as string, requestId: id };
        return this.#begin(step.fault, {
          id,
          attempt: async (server) => void (await server.createTag(PROJECT, TAGS[step.tag] as string, target)),
        });
      }
      case "deleteTag": {
        const id = this.#id("untag");
        return this.#begin(step.fault, {
          id,
          attempt: async (server) => server.deleteTag(PROJECT, TAGS[step.tag] as string, { requestId: id }) as Promise<undefined>,
        });
      }
      case "deleteRun": {
        const id = this.#id("delete");
        const how = { force: step.force, requestId: id };
        return this.#begin(step.fault, {
          id,
          attempt: async (server) => void (await server.deleteRun(PROJECT, RUNS[step.run] as string, how)),
        });
      }
      case "abort": {
        const uploads = [...this.#files.keys()];
        const id = uploads[step.which % Math.max(1, uploads.length)];
        if (id) await (await this.#all.open()).abortUpload(PROJECT, id).catch(expectRefusal);
        return;
      }
      case "retry": {
        const died = this.#operations.filter((operation) => operation.outcome === "died");
        const operation = died[step.which % Math.max(1, died.length)];
        if (operation) await this.#retry(operation);
        return;
      }
      case "wake": {
        const [sleeper] = this.#sleepers.splice(step.which % Math.max(1, this.#sleepers.length), 1);
        sleeper?.wake();
        return sleeper?.done;
      }
      case "collect": {
        this.#nowMs += step.passMs;
        const collector = await this.#all.open();
        for await (const progress of collector.collectGarbage({ graceMs: HOUR }))
          this.counts.collected = Math.max(this.counts.collected, progress.deletedObjects);
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
    for (const operation of this.#operations) if (operation.outcome === "died") await this.#retry(operation);
    await this.check();
    assert.ok(this.#operations.every(({ outcome }) => outcome !== "running" && outcome !== "died"));
  }

  /** What must hold at any moment. */
  async check(): Promise<void> {
    const fresh = await this.#all.open();
    this.#reader ??= await this.#all.open();
    for (const server of [fresh, this.#reader]) {
      const runs = new Map<string, Record<string, string>>();
      for (const { name } of (await server.listRuns(PROJECT)).runs) runs.set(name, await show(server, { run: name }));
      assert.deepEqual(Object.fromEntries(runs), this.#expectedRuns());
      for (const tag of (await server.listTags(PROJECT)).tags) {
        assert.deepEqual(await show(server, { tag: tag.name }), this.#viewAt(tag.run, tag.commit), `tag ${tag.name}`);
      }
    }
    for (const kind of ["log", "tags"]) this.#checkOrder(kind);
  }

  #upload(target: { run: string } | { tag: string }, paths: readonly number[]): Pick<Operation, "id" | "attempt"> {
    const id = this.#id("upload");
    const names = paths.map((path) => PATHS[path] as string);
    const files = Object.fromEntries(
      names.filter((path) => !names.some((other) => other !== path && isWithin(other, path))).map((path) => [path, `${id} ${path}`]),
    );
    this.#files.set(id, files);
    return { id, attempt: async (server) => (await upload(server, { ...target, uploadId: id }, files)).commit };
  }

  #id(kind: string): string {
    return `${kind}-${String(++this.#serial).padStart(16, "0")}`;
  }

  async #begin(fault: Fault | undefined, { id, attempt }: Pick<Operation, "id" | "attempt">): Promise<void> {
    const operation: Operation = {
      id,
      attempt,
      began: ++this.#moment,
      beganMs: this.#nowMs,
      ended: undefined,
      outcome: "running",
      seq: undefined,
    };
    this.#operations.push(operation);
    const server = await this.#all.open();
    let sleeping = (): void => {};
    const asleep = new Promise<void>((resolve) => (sleeping = resolve));
    if (fault) server.driver.interceptor = this.#faulty(fault, sleeping);
    const done = this.#attempt(operation, server);
    await Promise.race([done, asleep]);
  }

  #faulty(fault: Fault, sleeping: () => void) {
    let puts = 0;
    let dead = false;
    const strike = async (when: Fault["when"], call: Call): Promise<void> => {
      if (dead) throw new Death();
      if (call.operation !== "putIfAbsent") return;
      if (when === "before") puts++;
      if (puts !== fault.at || when !== fault.when) return;
      if (fault.kind === "die") {
        dead = true;
        this.counts.deaths++;
        throw new Death();
      }
      this.counts.sleeps++;
      let wake = (): void => {};
      const awake = new Promise<void>((resolve) => (wake = resolve));
      const operation = this.#operations.at(-1) as Operation;
      this.#sleepers.push({ wake, done: this.#ended(operation) });
      sleeping();
      await awake;
    };
    return { before: (call: Call) => strike("before", call), after: (call: Call) => strike("after", call) };
  }

  readonly #endings = new Map<Operation, { promise: Promise<void>; resolve: () => void }>();

  #ended(operation: Operation): Promise<void> {
    let ending = this.#endings.get(operation);
    if (!ending) {
      let resolve = (): void => {};
      const promise = new Promise<void>((done) => (resolve = done));
      this.#endings.set(operation, (ending = { promise, resolve }));
    }
    return ending.promise;
  }

  // A request is safe to send again within the grace period; after that, garbage collection may have forgotten that it was made.
  async #retry(operation: Operation): Promise<void> {
    if (this.#nowMs - operation.beganMs < HOUR) await this.#attempt(operation, await this.#all.open());
    else operation.outcome = "forgotten";
  }

  async #attempt(operation: Operation, server: Artifacts): Promise<void> {
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
      void this.#ended(operation);
      this.#endings.get(operation)?.resolve();
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
      const added = this.#filesOf(
        entry.id,
        entry.change.value.manifest?.content.value as { entries?: { path: string }[] } | undefined,
        run,
      );
      const kept = Object.entries(view).filter(([old]) => !Object.keys(added).some((path) => isWithin(old, path) || isWithin(path, old)));
      view = { ...Object.fromEntries(kept), ...added };
    }
    return view;
  }

  #isVoid(kind: string, id: string, bytes: Uint8Array | undefined): boolean {
    if (!bytes) return false;
    if (kind === "log") return fromBinary(LogEntrySchema, bytes).change.case === "void";
    return this.#files.has(id) && fromBinary(TagEntrySchema, bytes).change.case === "removal";
  }

  // A copy brings what its source showed; its manifest says which paths, and each content names its path and upload.
  #filesOf(id: string, block: { entries?: { path: string; crc32c?: number }[] } | undefined, _run: string): Files & Record<string, string> {
    const own = this.#files.get(id);
    if (own) return own as Record<string, string>;
    const known = [...this.#files.values()];
    return Object.fromEntries((block?.entries ?? []).map(({ path, crc32c }) => [path, this.#contentOf(path, crc32c as number, known)]));
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
      if (!this.#files.has(operation.id)) continue;
      if (operation.outcome === "acknowledged") assert.ok(logged.has(operation.id), `${operation.id} was acknowledged`);
      if (operation.outcome === "refused") assert.ok(!logged.has(operation.id), `${operation.id} was refused`);
    }
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
