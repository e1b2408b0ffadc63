/** Refuses names, ids and paths that break the rules, whoever calls. */
import { isId, nameProblem } from "../lib/names.ts";
import { pathProblem, trimPath } from "../lib/paths.ts";
import { ArtifactsFailure } from "./errors.ts";

/** Bytes of a link's target: what Linux takes. */
const MAX_LINK_TARGET_BYTES = 4096;

export function checkName(kind: "project" | "run" | "tag", name: string): void {
  const problem = nameProblem(name);
  if (problem) throw new ArtifactsFailure("NAME_INVALID", `${kind} ${quote(name)}: a name ${problem}`, { kind, name });
}

export function checkId(id: string): void {
  if (!isId(id)) {
    throw new ArtifactsFailure("UPLOAD_ID_INVALID", `upload id ${quote(id)} must be 16 to 64 letters, digits, \`_\` or \`-\``, { id });
  }
}

/** The path without its outer slashes; the root is `""`. */
export function checkPathOrRoot(path: string): string {
  const trimmed = trimPath(path);
  return trimmed === "" ? "" : checkPath(path);
}

/** The same, but the root is refused. */
export function checkPath(path: string): string {
  const trimmed = trimPath(path);
  const problem = pathProblem(trimmed);
  if (problem) throw new ArtifactsFailure("PATH_INVALID", `path ${quote(path)} ${problem}`, { path: path.slice(0, 2048) });
  return trimmed;
}

/** A link may only point inside the tree that it is in. */
export function checkLinkTarget(path: string, target: string): void {
  const refuse = (problem: string) => new ArtifactsFailure("PATH_INVALID", `link ${quote(path)} ${problem}`, { path });
  if (target === "") throw refuse("points to nothing");
  if (Buffer.byteLength(target) > MAX_LINK_TARGET_BYTES) throw refuse(`has a target longer than ${MAX_LINK_TARGET_BYTES} bytes`);
  if (target.includes("\0") || !target.isWellFormed()) throw refuse("has a target that is no path");
  if (target.startsWith("/")) throw refuse(`points to ${quote(target)}, which is absolute`);
  let depth = path.split("/").length - 1;
  for (const segment of target.split("/")) {
    if (segment === "..") depth--;
    else if (segment !== "" && segment !== ".") depth++;
    if (depth < 0) throw refuse(`points to ${quote(target)}, outside the run`);
  }
}

const MIN_MTIME_NS = -(2n ** 63n);
const MAX_MTIME_NS = 2n ** 63n - 1n;

/** Times are stored in nanoseconds, in 64 bits. */
export function checkMtime(path: string, ns: bigint): void {
  if (ns >= MIN_MTIME_NS && ns <= MAX_MTIME_NS) return;
  const problem = "has a modification time outside of the years 1678 to 2261, which can't be stored: set another one, as with touch";
  throw new ArtifactsFailure("MESSAGE_INVALID", `${quote(path)} ${problem}`, { path });
}

/** What could break a line, steer a terminal or turn text around, beyond what JSON escapes. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** A text in quotes, without what isn't seen, cut to a readable length. */
export function quote(text: string): string {
  const MAX_SHOWN = 200;
  const shown = text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
  return JSON.stringify(shown).replace(UNSEEN, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`);
}
