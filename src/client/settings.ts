/** What a client needs to know, from its caller or the environment. An empty variable is an unset one. */
import type { SecureClientSessionOptions } from "node:http2";
import { defaultServerUrl } from "../lib/addresses.ts";
import { nameProblem } from "../lib/names.ts";
import { DstackError } from "./errors.ts";

export interface ClientOptions {
  /** `unix:///path`, `http://host:port` or `https://host:port`; default `DSTACK_ARTIFACTS_URL`, else the default socket. */
  readonly url?: string | undefined;
  /** Bearer token; default `DSTACK_ARTIFACTS_TOKEN`. */
  readonly token?: string | undefined;
  /** Default `DSTACK_PROJECT`, else the server's. */
  readonly project?: string | undefined;
  /** The current run, for uploads that name none; default `DSTACK_RUN_NAME`, then `RUN_NAME`, else the server's. */
  readonly run?: string | undefined;
  /** How long a lost connection is taken up again without progress, in milliseconds; default 30,000. */
  readonly timeoutMs?: number | undefined;
  /** Whether uploads and downloads without `onProgress` show a bar on stderr, where that is a terminal; default true. */
  readonly progress?: boolean | undefined;
  /** For `https`: certificate authorities, a certificate of one's own. */
  readonly tls?: SecureClientSessionOptions | undefined;
  /** Where the defaults come from; the process's environment if it isn't given. */
  readonly env?: NodeJS.ProcessEnv | undefined;
}

export interface Settings {
  readonly url: string;
  readonly token: string | undefined;
  readonly project: string;
  readonly run: string | undefined;
  readonly timeoutMs: number;
  readonly progress: boolean;
  readonly tls: SecureClientSessionOptions | undefined;
}

const DEFAULT_TIMEOUT_MS = 30_000;
/** What a timer of the runtime can wait. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

export function readSettings(options: ClientOptions = {}): Settings {
  const env = options.env ?? process.env;
  const project = options.project ?? (env["DSTACK_PROJECT"] || "");
  if (options.project !== undefined || project !== "") checkName("project", project);
  return {
    url: checkUrl(options.url ?? (env["DSTACK_ARTIFACTS_URL"] || defaultServerUrl(env))),
    token: checkToken(options.token ?? (env["DSTACK_ARTIFACTS_TOKEN"] || undefined)),
    project,
    run: options.run ?? (env["DSTACK_RUN_NAME"] || env["RUN_NAME"] || undefined),
    timeoutMs: checkTimeout(options.timeoutMs ?? DEFAULT_TIMEOUT_MS),
    progress: options.progress ?? true,
    tls: options.tls,
  };
}

/** Refuses a bad name before anything is sent. */
export function checkName(
  kind: "project" | "run" | "tag",
  name: string,
  fail: (message: string) => Error = (message) => new DstackError(message),
): void {
  const problem = nameProblem(name);
  if (problem !== undefined) throw fail(`${kind} ${JSON.stringify(name)}: a name ${problem}`);
}

function checkUrl(url: string): string {
  const parsed = URL.parse(url);
  const isSocket = parsed?.protocol === "unix:" && parsed.pathname.length > 1;
  if (isSocket || parsed?.protocol === "http:" || parsed?.protocol === "https:") return url;
  throw new DstackError(`${JSON.stringify(url)} is not the URL of a server: use unix:///path, http://host:port or https://host:port`);
}

// Not shown: it is a secret.
function checkToken(token: string | undefined): string | undefined {
  if (token === undefined || /^[\x21-\x7e]+$/.test(token)) return token;
  throw new DstackError("the token has characters that no token has: spaces, line breaks or ones that are not ASCII");
}

function checkTimeout(timeoutMs: number): number {
  if (timeoutMs > 0 && timeoutMs <= MAX_TIMEOUT_MS) return timeoutMs;
  throw new DstackError(`timeout of ${timeoutMs} ms: must be more than 0, and at most ${MAX_TIMEOUT_MS}`);
}
