/** Bearer tokens: where they come from, what each allows, and how one is found without telling how much of it was right. */
import { createHash, timingSafeEqual } from "node:crypto";
import { open } from "node:fs/promises";
import { nameProblem } from "../lib/names.ts";

/** Each holds the ones before it. */
export const SCOPES = ["read", "write", "admin"] as const;
export type Scope = (typeof SCOPES)[number];

/** What somebody may do. */
export interface Principal {
  /** For logs: never the token. */
  readonly name: string;
  readonly scope: Scope;
  /** The one project that is allowed; undefined for all. */
  readonly project?: string | undefined;
}

export interface Token extends Principal {
  /** SHA-256 of the token; the token itself isn't kept. */
  readonly hash: Buffer;
}

/** Visible ASCII: what a header carries as it is. */
const TOKEN = /^[\x21-\x7e]+$/;
/** Permission bits of everybody but the owner and its group. */
const OTHERS_READ = 0o004;
const OTHERS_WRITE = 0o002;
const MAX_FILE_BYTES = 1024 * 1024;

/** Whether `scope` holds `needed`. */
export function includesScope(scope: Scope, needed: Scope): boolean {
  return SCOPES.indexOf(scope) >= SCOPES.indexOf(needed);
}

/**
 * The tokens of a server: those of `tokenFile`, else the one in DSTACK_ARTIFACTS_TOKEN, which allows everything; else none.
 *
 * @throws Error of one line that says what is wrong, without any token.
 */
export async function loadTokens(
  tokenFile: string | undefined,
  env: NodeJS.ProcessEnv,
  onWarning: (message: string) => void,
): Promise<readonly Token[]> {
  if (tokenFile !== undefined) return readTokenFile(tokenFile, onWarning);
  const token = env["DSTACK_ARTIFACTS_TOKEN"];
  if (token === undefined || token === "") return [];
  if (!TOKEN.test(token))
    throw new Error("DSTACK_ARTIFACTS_TOKEN has characters that a token can't have: use visible ASCII without spaces");
  return [{ name: "DSTACK_ARTIFACTS_TOKEN", hash: hashOf(token), scope: "admin" }];
}

async function readTokenFile(path: string, onWarning: (message: string) => void): Promise<readonly Token[]> {
  const file = await open(path, "r").catch((cause: NodeJS.ErrnoException) => {
    throw new Error(`token file ${path}: ${cause.code === "ENOENT" ? "no such file" : cause.message}`, { cause });
  });
  try {
    const { mode, size } = await file.stat();
    if ((mode & OTHERS_WRITE) !== 0) throw new Error(`token file ${path} can be written by other users: chmod 600 ${path}`);
    // Such are the secrets that Kubernetes mounts, in a container with nobody else in it.
    if ((mode & OTHERS_READ) !== 0) onWarning(`token file ${path} can be read by other users: chmod 600 ${path}`);
    if (size > MAX_FILE_BYTES) throw new Error(`token file ${path} is larger than ${MAX_FILE_BYTES} bytes`);
    const tokens = parseTokens(await file.readFile("utf8"), path);
    if (tokens.length === 0) throw new Error(`token file ${path} holds no token`);
    return tokens;
  } finally {
    await file.close();
  }
}

/** One token a line: `TOKEN [SCOPE[,SCOPE]…] [PROJECT]`; `#` begins a comment. No scope means all of them, no project all of them. */
export function parseTokens(text: string, path: string): readonly Token[] {
  const tokens: Token[] = [];
  text.split(/\r?\n/).forEach((line, index) => {
    const where = `token file ${path}, line ${index + 1}`;
    const words = line
      .replace(/(^|\s)#.*$/, "")
      .split(/\s+/)
      .filter((word) => word !== "");
    const [token, scopes = "admin", project, more] = words;
    if (token === undefined) return;
    if (more !== undefined) throw new Error(`${where}: more than a token, its scopes and a project`);
    if (!TOKEN.test(token)) throw new Error(`${where}: the token has characters that a token can't have: use visible ASCII`);
    const problem = project === undefined ? undefined : nameProblem(project);
    if (problem !== undefined) throw new Error(`${where}: the project ${problem}`);
    tokens.push({ name: `line ${index + 1}`, hash: hashOf(token), scope: highest(scopes, where), project });
  });
  return tokens;
}

function highest(scopes: string, where: string): Scope {
  let found = -1;
  for (const scope of scopes.split(",")) {
    const at = (SCOPES as readonly string[]).indexOf(scope);
    if (at < 0) throw new Error(`${where}: the second word must be scopes out of ${SCOPES.join(", ")}`);
    found = Math.max(found, at);
  }
  return SCOPES[found] as Scope;
}

/** The token that `text` is. All are compared, each in constant time, so that the answer's time tells nothing. */
export function findToken(tokens: readonly Token[], text: string): Token | undefined {
  const hash = hashOf(text);
  let found: Token | undefined;
  for (const token of tokens) {
    if (timingSafeEqual(token.hash, hash)) found ??= token;
  }
  return found;
}

function hashOf(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
