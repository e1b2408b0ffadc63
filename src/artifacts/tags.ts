/** Tags: each a log of settings and removals of which the last one counts. */
import { create } from "@bufbuild/protobuf";
import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { LogEntrySchema, type TagEntry, TagEntrySchema, type TagSet } from "../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { LruCache } from "../lib/lru-cache.ts";
import { mapAhead } from "../lib/map-ahead.ts";
import { StoreError } from "../store/driver.ts";
import { ArtifactsFailure } from "./errors.ts";
import { logKey, numberOf, tagKey, tagPrefix, tagsPrefix } from "./keys.ts";
import type { Objects } from "./objects.ts";
import type { TagInfo } from "./types.ts";

export interface TagLogged {
  readonly n: number;
  readonly entry: TagEntry;
}

/** A tag that is set. */
export interface SetTag {
  readonly info: TagInfo;
  readonly set: TagSet;
  readonly n: number;
}

export interface TagLog {
  /** The entry that an upload or a request made, if it made one. */
  made(project: string, tag: string, id: string): Promise<TagLogged | undefined>;
  find(project: string, tag: string): Promise<SetTag | undefined>;
  /** Every tag that is set, sorted by name. */
  all(project: string): Promise<SetTag[]>;
  /**
   * Creates the next entry for the request `id`, unless it made one before, which is then given. `allow` sees the newest entry right
   * before each try and throws to refuse.
   */
  append(
    project: string,
    tag: string,
    id: string,
    change: TagEntry["change"],
    now: Date,
    allow: (head: TagLogged | undefined) => void | Promise<void>,
  ): Promise<TagLogged>;
}

/** Tags whose entries' makers are remembered, so that a tag that is set and removed a thousand times isn't read a thousand times. */
const KNOWN_TAGS = 1000;
/** Entries that are read at once. */
const READ_CONCURRENCY = 16;

/** Who made which entry, up to the newest that was read. */
interface Makers {
  newest: number;
  readonly numbers: Map<string, number>;
}

export function createTagLog(objects: Objects): TagLog {
  const known = new LruCache<string, Makers>(KNOWN_TAGS);

  async function load(key: string): Promise<TagLogged> {
    const entry = await objects.get(key, TagEntrySchema);
    if (!entry) throw new StoreError("damaged", `${objects.driver.name}: ${key} is missing`);
    return { n: numberOf(key), entry };
  }

  // A tagged upload is committed by its tag's entry; the run's first entry is a copy of it, which anyone who comes by may make.
  async function settle(project: string, set: TagSet): Promise<void> {
    if (!set.first) return;
    const key = logKey(project, set.run, Number(set.seq));
    if (!(await objects.get(key, LogEntrySchema))) await objects.put(key, LogEntrySchema, set.first);
  }

  async function toSetTag(project: string, name: string, head: TagLogged): Promise<SetTag | undefined> {
    if (head.entry.change.case !== "set") return undefined;
    const set = head.entry.change.value;
    await settle(project, set);
    const created = head.entry.time ? timestampDate(head.entry.time) : new Date(0);
    return { info: { name, run: set.run, commit: Number(set.seq), path: set.path, created }, set, n: head.n };
  }

  /** The newest entry, and the one of `id`. */
  async function look(project: string, tag: string, id: string): Promise<{ head: TagLogged | undefined; ours: TagLogged | undefined }> {
    const prefix = tagPrefix(project, tag);
    const first = await objects.first(prefix);
    if (!first) return { head: undefined, ours: undefined };
    const makers = known.get(prefix) ?? { newest: 0, numbers: new Map<string, number>() };
    known.set(prefix, makers);
    const head = await load(first.key);
    const numbers = Array.from({ length: Math.max(0, head.n - makers.newest) }, (_, i) => makers.newest + 1 + i);
    for await (const { n, entry } of mapAhead(numbers, READ_CONCURRENCY, (number) => load(tagKey(project, tag, number)))) {
      makers.numbers.set(entry.id, n);
      makers.newest = Math.max(makers.newest, n);
    }
    const n = makers.numbers.get(id);
    return { head, ours: n === undefined ? undefined : await load(tagKey(project, tag, n)) };
  }

  const log: TagLog = {
    made: async (project, tag, id) => (await look(project, tag, id)).ours,
    async find(project, tag) {
      const first = await objects.first(tagPrefix(project, tag));
      return first && toSetTag(project, tag, await load(first.key));
    },
    async all(project) {
      const prefix = tagsPrefix(project);
      const newest: string[] = [];
      let previous = "";
      for await (const { key } of objects.list(prefix)) {
        const name = key.slice(prefix.length, key.lastIndexOf("/"));
        if (name !== previous) newest.push(key);
        previous = name;
      }
      const tags = await Promise.all(
        newest.map(async (key) => toSetTag(project, key.slice(prefix.length, key.lastIndexOf("/")), await load(key))),
      );
      return tags.filter((tag) => tag !== undefined).sort((a, b) => (a.info.name < b.info.name ? -1 : 1));
    },
    async append(project, tag, id, change, now, allow) {
      for (;;) {
        const { head, ours } = await look(project, tag, id);
        if (ours) return ours;
        // What the newest entry decided must be in its run's log before it can be out of sight.
        if (head?.entry.change.case === "set") await settle(project, head.entry.change.value);
        await allow(head);
        const n = (head?.n ?? 0) + 1;
        const entry = create(TagEntrySchema, { id, time: timestampFromDate(now), change });
        if (await objects.put(tagKey(project, tag, n), TagEntrySchema, entry)) return { n, entry };
      }
    },
  };
  return log;
}

export function tagExists(tag: string): ArtifactsFailure {
  return new ArtifactsFailure("TAG_EXISTS", `tag ${JSON.stringify(tag)} already exists`, { tag });
}

export function tagNotFound(tag: string): ArtifactsFailure {
  return new ArtifactsFailure("TAG_NOT_FOUND", `tag ${JSON.stringify(tag)} not found`, { tag });
}
