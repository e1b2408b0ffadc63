/** Reads every byte of a reference and checks it, and so the records that say what the bytes are: the context must not keep any. */

import { combineCrc32c, crc32c } from "../lib/crc32c.ts";
import { checkName } from "./check.ts";
import type { Context } from "./context.ts";
import { type Piece, planPieces, readPieces, type Wanted } from "./downloads/pieces.ts";
import type { ReadAhead } from "./downloads/read-ahead.ts";
import type { StoredEntry } from "./manifests/index.ts";
import type { CallContext, Reference, VerifyEvent } from "./types.ts";

/** How often progress is told, in milliseconds. */
const PROGRESS_MS = 1000;

interface Checked extends Wanted {
  readonly entry: StoredEntry;
  left: number;
  crc: number;
  damage: string | undefined;
}

export async function* verify(
  context: Context,
  readAhead: ReadAhead,
  project: string,
  reference: Reference,
  { signal }: CallContext,
): AsyncGenerator<VerifyEvent, void, undefined> {
  checkName("project", project);
  const { view } = await context.views.resolve(project, reference);
  const total = await view.totals("");
  const done = { files: 0, bytes: 0, damaged: 0 };
  let toldAt = performance.now();
  // Files without bytes have nothing that could be damaged.
  const pieces = (async function* (): AsyncGenerator<readonly Piece<Checked>[], void, undefined> {
    for await (const batch of view.entries(signal ? { signal } : {})) {
      const some: Checked[] = [];
      for (const entry of batch) {
        const size = entry.size ?? 0;
        if (entry.type === "folder") continue;
        if (size === 0) done.files++;
        else some.push({ entry, from: 0, to: size, left: size, crc: 0, damage: undefined });
      }
      yield* planPieces(some);
    }
  })();
  let current: Checked | undefined;
  for await (const batch of readPieces(context.objects.driver, project, pieces, readAhead, signal)) {
    for (const piece of batch) {
      const checked = piece.owner;
      if (current && current !== checked) yield* end(current, done);
      current = checked;
      if ("damage" in piece) {
        checked.damage ??= piece.damage;
        continue;
      }
      checked.crc = combineCrc32c(checked.crc, crc32c(piece.bytes), piece.bytes.length);
      checked.left -= piece.bytes.length;
      done.bytes += piece.bytes.length;
    }
    if (performance.now() - toldAt >= PROGRESS_MS) {
      toldAt = performance.now();
      yield { type: "progress", files: done.files, bytes: done.bytes, totalFiles: total.files, totalBytes: total.bytes };
    }
  }
  if (current) yield* end(current, done);
  yield { type: "finish", ...done };
}

function* end({ entry, left, crc, damage }: Checked, done: { files: number; damaged: number }): Generator<VerifyEvent> {
  done.files++;
  const problem =
    damage ?? (left > 0 ? `${left} bytes are missing` : crc !== entry.crc32c ? "its bytes are not those that were uploaded" : undefined);
  if (!problem) return;
  done.damaged++;
  yield { type: "damaged", path: entry.path, problem };
}
