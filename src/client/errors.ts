/** Errors of the client, and how the protocol's reasons become them. */
import { Code, ConnectError } from "@connectrpc/connect";
import { failureOf } from "../wire/status.ts";
import { isUnmade } from "./connection.ts";

/** Anything that went wrong. The message is one line that names what failed. */
export class DstackError extends Error {
  override readonly name: string = "DstackError";
  /** Why, as a name of the protocol's `ErrorReason`; `undefined` where the server had no say in it. */
  readonly reason: string | undefined;

  constructor(message: string, options: ErrorOptions & { reason?: string | undefined } = {}) {
    super(message, options);
    this.reason = options.reason;
  }
}

/** An upload failed; nothing of it can be seen. */
export class ArtifactsUploadError extends DstackError {
  override readonly name: string = "ArtifactsUploadError";
  /** Given to another upload of the same files, it goes on with this one; `undefined` if nothing was begun or nothing can go on. */
  uploadId: string | undefined;
}

/** A download failed; files that were complete are there, others are not. */
export class ArtifactsDownloadError extends DstackError {
  override readonly name: string = "ArtifactsDownloadError";
}

/** There is no such run. */
export class RunNotFoundError extends ArtifactsDownloadError {
  override readonly name: string = "RunNotFoundError";
}

/** There is no such tag. */
export class TagNotFoundError extends ArtifactsDownloadError {
  override readonly name: string = "TagNotFoundError";
}

/** What was being done, which decides the error's class. */
export type Doing = "upload" | "download" | "other";

/** The error that a caller sees. */
export function toDstackError(error: unknown, doing: Doing, url: string): unknown {
  if (error instanceof DstackError) return error;
  if (!(error instanceof ConnectError)) return fromLocal(error, doing);
  const { reason, message, code } = failureOf(error);
  const options = { cause: error, reason };
  if (isUnmade(error)) return make(doing, noConnection(error, url), options);
  if (doing !== "upload") {
    if (reason === "RUN_NOT_FOUND" || reason === "COMMIT_NOT_FOUND") return new RunNotFoundError(message, options);
    if (reason === "TAG_NOT_FOUND") return new TagNotFoundError(message, options);
  }
  if (reason !== undefined) return make(doing, oneLine(message), options);
  if (code === Code.Unimplemented) return make(doing, oneLine(`${url} is not a server of artifacts: ${message}`), options);
  if (code === Code.Unavailable) return make(doing, oneLine(`the server at ${url} went away: ${message}`), options);
  return make(doing, oneLine(message), options);
}

function fromLocal(error: unknown, doing: Doing): unknown {
  // What the caller's own signal or stream throws is the caller's, as long as it isn't the system's.
  if (!(error instanceof Error) || typeof (error as NodeJS.ErrnoException).code !== "string") return error;
  return make(doing, describeSystemError(error as NodeJS.ErrnoException), { cause: error });
}

/** What the system says of an address where nobody is. */
const NOBODY = new Set(["ECONNREFUSED", "ENOENT", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH", "ETIMEDOUT"]);

function noConnection(error: ConnectError, url: string): string {
  const cause = error.cause as NodeJS.ErrnoException | undefined;
  if (cause === undefined || NOBODY.has(cause.code ?? "")) return `no server at ${url}: start one with \`dstack-artifacts serve\``;
  if (cause.code === "EACCES") return `the server at ${url} may not be reached by this user: permission denied`;
  if (cause.code === "ERR_SSL_WRONG_VERSION_NUMBER") return `what listens at ${url} speaks no TLS: try http://`;
  return oneLine(`no connection to a server at ${url}: ${cause.message}`);
}

const SYSTEM_ERRORS: Readonly<Record<string, string>> = {
  ENOENT: "does not exist",
  EACCES: "may not be accessed: permission denied",
  EPERM: "may not be changed: operation not permitted",
  ENOTDIR: "is not a folder",
  EISDIR: "is a folder",
  ELOOP: "is a loop of links",
  ENOSPC: "can't be written: no space left on the disk",
  EDQUOT: "can't be written: the disk quota is used up",
  EFBIG: "can't be written: it is larger than the file system or a limit allows",
  EROFS: "can't be written: the file system is read-only",
  ENAMETOOLONG: "has a name that is too long for this file system",
  EMFILE: "can't be opened: too many files are open",
  EIO: "can't be read or written: the disk reports an error",
};

/** One line for what the system said, naming the path. */
export function describeSystemError(error: NodeJS.ErrnoException): string {
  const said = SYSTEM_ERRORS[error.code ?? ""];
  const text = error.path !== undefined && said !== undefined ? `${error.path} ${said}` : error.message;
  return oneLine(error.path !== undefined && !text.includes(error.path) ? `${error.path}: ${text}` : text);
}

/** The system's error, telling of `path`, whatever the system calls it, if it tells of one at all. */
export function withPath(error: unknown, path: string): unknown {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).code === "string" ? Object.assign(error, { path }) : error;
}

/** Does something to a file, whose errors are to tell of `path`. */
export function naming<T>(path: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    throw withPath(error, path);
  }
}

function make(doing: Doing, message: string, options: ErrorOptions & { reason?: string | undefined }): DstackError {
  if (doing === "upload") return new ArtifactsUploadError(message, options);
  if (doing === "download") return new ArtifactsDownloadError(message, options);
  return new DstackError(message, options);
}

/** Whether the same call may succeed later: the connection was lost, or the server said so. */
export function isTemporary(error: unknown): boolean {
  if (!(error instanceof ConnectError)) return false;
  return error.code === Code.Unavailable || failureOf(error).retryAfterMs !== undefined;
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, " ");
}
