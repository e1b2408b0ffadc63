/**
 * A run's log: its commits and deletions, one object each, numbered from 1 without gaps. Adding to it is creating the next number; whoever
 * loses that race reads what won and tries the next.
 */
import { create } from "@bufbuild/protobuf";
import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type LogEntry, LogEntrySchema } from "../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { LruCache } from "../lib/lru-cache.ts";
import { mapAhead } from "../lib/map-ahead.ts";
import { StoreError } from "../store/driver.ts";
import { logKey, logPrefix, numberOf } from "./keys.ts";
import type { Objects } from "./objects.ts";

/** Entries that are read at once. */
const READ_CONCURRENCY = 16;
/**
 * From so many entries on, the newest is looked for behind the last one that is known, so many numbers far, before it is listed: a store in a
 * folder reads the whole folder to list the first of it.
 */
const LONG_LOG = 256;
const PROBED_NUMBERS = 4;
/** Long logs whose last known number is kept. */
const KEPT_LOGS = 1000;

export interface Logged {
  readonly seq: number;
  readonly entry: LogEntry;
}

/** What the log says of a run that can be seen. */
export interface RunState {
  readonly seq: number;
  /** The newest deletion, 0 if there is none. */
  readonly deletedSeq: number;
  /** Commits since then. */
  readonly commits: number;
  readonly created: Date;
}

export interface RunLog {
  head(project: string, run: string): Promise<Logged | undefined>;
  /** The entry of a number that is known to exist. */
  entry(project: string, run: string, seq: number): Promise<LogEntry>;
  /** Entries above `seq`, newest first. */
  since(project: string, run: string, seq: number): Promise<Logged[]>;
  /** Entries from `first` to `last`, both included, newest first. */
  between(project: string, run: string, first: number, last: number): Promise<Logged[]>;
  /** Creates the entry after `head`; `false` if another one was there first. */
  append(project: string, run: string, head: Logged | undefined, id: string, change: LogEntry["change"], now: Date): Promise<boolean>;
}

export function createRunLog(objects: Objects): RunLog {
  const known = new LruCache<string, number>(KEPT_LOGS);

  /** The newest number, 0 if there is none. */
  async function newest(project: string, run: string): Promise<number> {
    const prefix = logPrefix(project, run);
    const seq = (await probe(project, run, known.get(prefix))) ?? (await listed(prefix));
    if (seq >= LONG_LOG) known.set(prefix, seq);
    return seq;
  }

  async function listed(prefix: string): Promise<number> {
    const first = await objects.first(prefix);
    return first ? numberOf(first.key) : 0;
  }

  // Numbers have no gaps and entries are never deleted, so the first that isn't there ends the log.
  async function probe(project: string, run: string, from: number | undefined): Promise<number | undefined> {
    if (from === undefined) return undefined;
    for (let seq = from + 1; seq <= from + PROBED_NUMBERS; seq++) {
      if (!(await objects.get(logKey(project, run, seq), LogEntrySchema))) return seq - 1;
    }
    return undefined;
  }

  const log: RunLog = {
    async head(project, run) {
      const seq = await newest(project, run);
      return seq === 0 ? undefined : { seq, entry: await log.entry(project, run, seq) };
    },
    async entry(project, run, seq) {
      const key = logKey(project, run, seq);
      const entry = await objects.get(key, LogEntrySchema);
      if (!entry) throw new StoreError("damaged", `${objects.driver.name}: ${key} is missing`);
      return entry;
    },
    async since(project, run, seq) {
      const last = await newest(project, run);
      return last > seq ? log.between(project, run, seq + 1, last) : [];
    },
    async between(project, run, first, last) {
      const numbers = Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => last - i);
      const entries: Logged[] = [];
      const read = mapAhead(numbers, READ_CONCURRENCY, async (seq) => ({ seq, entry: await log.entry(project, run, seq) }));
      for await (const entry of read) entries.push(entry);
      return entries;
    },
    append(project, run, head, id, change, now) {
      return objects.put(logKey(project, run, (head?.seq ?? 0) + 1), LogEntrySchema, nextEntry(head, id, change, now));
    },
  };
  return log;
}

/** The entry that follows `head`. */
export function nextEntry(head: Logged | undefined, id: string, change: LogEntry["change"], now: Date): LogEntry {
  const state = head && stateOf(head);
  const commitsBefore = head && head.entry.change.case !== "deletion" ? head.entry.commits : 0n;
  return create(LogEntrySchema, {
    id,
    time: timestampFromDate(now),
    deletedSeq: BigInt(head ? deletedSeqAfter(head) : 0),
    ...(state ? { created: timestampFromDate(state.created) } : {}),
    commits: change.case === "deletion" ? 0n : commitsBefore + (change.case === "commit" ? 1n : 0n),
    change,
  });
}

/** The state after an entry; `undefined` if there is nothing to be seen then. */
export function stateOf({ seq, entry }: Logged): RunState | undefined {
  const started = entry.created ?? (entry.change.case === "commit" ? entry.time : undefined);
  if (entry.change.case === "deletion" || !started) return undefined;
  return { seq, deletedSeq: Number(entry.deletedSeq), commits: Number(entry.commits), created: timestampDate(started) };
}

/** The newest deletion up to and including an entry. */
export function deletedSeqAfter({ seq, entry }: Logged): number {
  return entry.change.case === "deletion" ? seq : Number(entry.deletedSeq);
}
