/** What all clouds' errors have in common: connections that fail, and what a status says when nothing else is known. */
import type { StoreErrorKind } from "../../driver.ts";
import { StoreError } from "../../driver.ts";
import { CutOffError } from "./bytes.ts";

/** A failed call, as much of it as is known. */
export interface Failure {
  readonly error: unknown;
  /** HTTP's; nothing if no answer came. */
  readonly status?: number | undefined;
  /** The store's own word for it. */
  readonly code?: string | undefined;
  /** The store's own sentence. */
  readonly message?: string | undefined;
  readonly retryAfter?: string | undefined;
}

/** What an error is, and what is said of it after the store's name. */
export interface Diagnosis {
  readonly kind: StoreErrorKind;
  readonly text: string;
}

/** System and Node errors of a connection that may come about the next time. */
const PASSING = new Set(
  (
    "ECONNRESET ECONNREFUSED ECONNABORTED EPIPE ETIMEDOUT ESOCKETTIMEDOUT EHOSTUNREACH EHOSTDOWN ENETUNREACH ENETDOWN EAI_AGAIN EMFILE " +
    "ENFILE ENOBUFS EADDRNOTAVAIL ERR_STREAM_PREMATURE_CLOSE ERR_STREAM_DESTROYED ERR_HTTP_REQUEST_TIMEOUT"
  ).split(" "),
);
const UNTRUSTED = /^(CERT_|ERR_TLS_|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT|UNABLE_TO_(VERIFY|GET)|ERR_SSL_|EPROTO|HOSTNAME_MISMATCH)/;
const NOT_HTTP = /^HPE_/;

/** What a failed connection says; nothing if it isn't one. `hostFrom` names the parameters that the host's name is made of. */
export function diagnoseConnection(error: unknown, hostFrom: string): Diagnosis | undefined {
  for (let cause: unknown = error, depth = 0; cause instanceof Error && depth < 5; cause = cause.cause, depth++) {
    if (cause instanceof CutOffError) return { kind: "temporary", text: cause.message };
    const code = String((cause as NodeJS.ErrnoException).code ?? "");
    if (PASSING.has(code)) return { kind: "temporary", text: `the connection failed (${code})` };
    if (code === "ENOTFOUND") {
      return { kind: "misconfigured", text: `the host isn't known (ENOTFOUND): check ${hostFrom}, and the network` };
    }
    if (UNTRUSTED.test(code)) {
      const advice = "check that the endpoint speaks TLS; a private certificate authority is named by NODE_EXTRA_CA_CERTS";
      return { kind: "misconfigured", text: `no secure connection (${code}): ${advice}` };
    }
    if (NOT_HTTP.test(code)) {
      return { kind: "misconfigured", text: `what answers doesn't speak HTTP (${code}): check the parameter endpoint` };
    }
    if (/^(aborted|socket hang up|Premature close)$/.test(cause.message)) {
      return { kind: "temporary", text: `the connection failed (${cause.message})` };
    }
  }
  return undefined;
}

export function isConnectionLost(error: unknown): boolean {
  return diagnoseConnection(error, "")?.kind === "temporary";
}

const TEMPORARY_STATUS = new Set([408, 425, 429, 500, 502, 503, 504]);

/** What HTTP's status says by itself. */
export function diagnoseStatus({ status, code, message }: Failure): Diagnosis | undefined {
  if (status === undefined) return undefined;
  const said = [String(status), code, message].filter(Boolean).join(" ");
  if (TEMPORARY_STATUS.has(status)) return { kind: "temporary", text: `the store is out of order for the moment (${said})` };
  if (status === 401 || status === 403) return { kind: "denied", text: `denied (${said})` };
  if (status === 407) return { kind: "misconfigured", text: `the proxy wants credentials (${said})` };
  if (status === 507) return { kind: "full", text: `no space left (${said})` };
  if (status >= 300 && status < 400) {
    return { kind: "misconfigured", text: `the store is elsewhere (${said}): check the parameter endpoint` };
  }
  if (status === 501) return { kind: "unsupported", text: `the store doesn't know this (${said})` };
  return undefined;
}

/** Longest that is told of a store's own words, in characters. */
const MAX_SAID = 300;

/** The error of a call, in one line that names the store. */
export function toStoreError(name: string, what: string, { kind, text }: Diagnosis, failure: Failure): StoreError {
  const line = text.replace(/\s+/g, " ").slice(0, MAX_SAID + what.length);
  const retryAfterMs = parseRetryAfter(failure.retryAfter);
  return new StoreError(kind, `${name}: ${what}: ${line}`, {
    cause: failure.error,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

/** HTTP's Retry-After (RFC 9110, 10.2.3) in milliseconds. */
function parseRetryAfter(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const until = Date.parse(value);
  return Number.isNaN(until) ? undefined : Math.max(0, until - Date.now());
}
