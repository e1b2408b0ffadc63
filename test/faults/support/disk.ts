/**
 * What a disk may hold after a power cut: what was fsynced, and of the rest any part. Follows the store's calls to the system, and makes
 * folders of what POSIX lets a cut at a moment leave:
 *
 * - an fsync of a file keeps the bytes written before it began, one of a folder the names put into it or taken away before;
 * - of names that were changed since then, each change may be there or not, whatever comes before or after it;
 * - a file's bytes that were not fsynced may be missing, in part or whole, or be zeros.
 */
import fs from "node:fs";
import { dirname, join } from "node:path";
import type { Syscall } from "./syscalls.ts";

interface File {
  readonly kind: "file";
  bytes: Buffer;
  /** What is sure to be there; `undefined` if it was never fsynced. */
  durable: Buffer | undefined;
}

interface Folder {
  readonly kind: "folder";
  readonly names: Map<string, Inode>;
  durable: ReadonlyMap<string, Inode>;
  /** Changes since what is durable, in order. */
  pending: readonly Change[];
}

type Inode = File | Folder;

interface Change {
  readonly name: string;
  /** Absent: the name was taken away. */
  readonly inode?: Inode;
}

/** How much of what was not made durable a cut leaves. */
export type Luck = "nothing" | "everything" | (() => number);

/** A disk as it was at a moment. */
export interface Moment {
  /** Makes a folder of it, with what a power cut then leaves. */
  leave(target: string, luck: Luck): void;
}

export interface Disk {
  /** To be called in place of each call to the system. */
  follow(call: Syscall, run: () => Promise<unknown>): Promise<unknown>;
  moment(): Moment;
}

/** `base` is a folder that is there, durably, and empty. `keeps`: whether an fsync does what it promises; all do by default. */
export function followDisk(base: string, keeps: (path: string, isFile: boolean) => boolean = () => true): Disk {
  const root = newFolder();
  const open = new Map<number, { inode: Inode; path: string }>();

  function find(path: string): Inode | undefined {
    if (path !== base && !path.startsWith(`${base}/`)) return undefined;
    let at: Inode | undefined = root;
    for (const name of path.slice(base.length).split("/").filter(Boolean)) at = at?.kind === "folder" ? at.names.get(name) : undefined;
    return at;
  }

  function change(path: string, inode: Inode | undefined): void {
    const folder = find(dirname(path));
    if (folder?.kind !== "folder") return;
    const name = path.slice(path.lastIndexOf("/") + 1);
    if (inode) folder.names.set(name, inode);
    else folder.names.delete(name);
    folder.pending = [...folder.pending, inode ? { name, inode } : { name }];
  }

  function makeFolders(path: string): void {
    if (find(path) || path.length <= base.length) return;
    makeFolders(dirname(path));
    change(path, newFolder());
  }

  async function fsync(fd: number, run: () => Promise<unknown>): Promise<unknown> {
    const opened = open.get(fd);
    if (!opened) return run();
    const { inode, path } = opened;
    const before = inode.kind === "file" ? inode.bytes : { names: new Map(inode.names), changes: inode.pending.length };
    const result = await run();
    if (!keeps(path, inode.kind === "file")) return result;
    if (inode.kind === "file") inode.durable = before as Buffer;
    else {
      const { names, changes } = before as { names: Map<string, Inode>; changes: number };
      inode.durable = names;
      inode.pending = inode.pending.slice(changes);
    }
    return result;
  }

  return {
    async follow({ name, args }, run) {
      if (name === "fsync") return fsync(args[0] as number, run);
      const path = String(args[0]);
      const result = await run().catch((error) => {
        // It is there, though the call that made it may be told so later than this one.
        if (name === "mkdir" && (error as NodeJS.ErrnoException).code === "EEXIST") makeFolders(path);
        throw error;
      });
      if (name === "open") {
        if (!find(path) && (Number(args[1]) & fs.constants.O_CREAT) !== 0)
          change(path, { kind: "file", bytes: Buffer.alloc(0), durable: undefined });
        const inode = find(path);
        if (inode) open.set(result as number, { inode, path });
      } else if (name === "close") open.delete(args[0] as number);
      else if (name === "writev") {
        const inode = open.get(args[0] as number)?.inode;
        if (inode?.kind === "file") inode.bytes = Buffer.concat([inode.bytes, ...(args[1] as Uint8Array[])]);
      } else if (name === "link") change(String(args[1]), find(path));
      else if (name === "unlink" || name === "rmdir") change(path, undefined);
      else if (name === "mkdir") makeFolders(path);
      return result;
    },
    moment: () => freeze(root),
  };
}

function newFolder(): Folder {
  return { kind: "folder", names: new Map(), durable: new Map(), pending: [] };
}

// What is known of every inode now; it may change later.
function freeze(root: Folder): Moment {
  const states = new Map<Inode, Pick<File, "bytes" | "durable"> | Pick<Folder, "durable" | "pending">>();
  (function visit(inode: Inode): void {
    if (states.has(inode)) return;
    if (inode.kind === "file") states.set(inode, { bytes: inode.bytes, durable: inode.durable });
    else {
      states.set(inode, { durable: inode.durable, pending: inode.pending });
      for (const other of inode.durable.values()) visit(other);
      for (const change of inode.pending) if (change.inode) visit(change.inode);
    }
  })(root);

  return {
    leave(target, luck) {
      const written = new Map<Inode, string>();
      (function write(inode: Inode, path: string): void {
        const there = written.get(inode);
        const state = states.get(inode);
        if (inode.kind === "file") {
          if (there) fs.linkSync(there, path);
          else fs.writeFileSync(path, bytesLeft(state as Pick<File, "bytes" | "durable">, luck));
          written.set(inode, path);
          return;
        }
        // A folder has one name; if a cut leaves it two, the second is of no use to anybody.
        if (there) return;
        fs.mkdirSync(path, { recursive: true });
        written.set(inode, path);
        for (const [name, other] of namesLeft(state as Pick<Folder, "durable" | "pending">, luck)) write(other, join(path, name));
      })(root, target);
    },
  };
}

function namesLeft({ durable, pending }: Pick<Folder, "durable" | "pending">, luck: Luck): Map<string, Inode> {
  const names = new Map(durable);
  for (const { name, inode } of pending) {
    if (luck === "nothing" || (luck !== "everything" && luck() < 0.5)) continue;
    if (inode) names.set(name, inode);
    else names.delete(name);
  }
  return names;
}

function bytesLeft({ bytes, durable }: Pick<File, "bytes" | "durable">, luck: Luck): Buffer {
  if (durable?.length === bytes.length || luck === "everything") return bytes;
  if (luck === "nothing") return durable ?? Buffer.alloc(0);
  const choices = [durable ?? Buffer.alloc(0), bytes.subarray(0, bytes.length / 2), Buffer.alloc(bytes.length), bytes];
  return choices[Math.floor(luck() * choices.length)] as Buffer;
}
