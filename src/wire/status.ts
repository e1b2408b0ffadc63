/**
 * The end of a gRPC call: its status as trailers, and what the project's errors say for programs.
 *
 * One error type on both ends, connect's `ConnectError`, so that the hot path and connect-node can't tell different stories.
 */

import type { IncomingHttpHeaders, OutgoingHttpHeaders } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import { findTrailerError, setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { ErrorReason } from "../../gen/ts/dstack/artifacts/v1/errors_pb.ts";
import { ErrorInfoSchema, RetryInfoSchema } from "../../gen/ts/google/rpc/error_details_pb.ts";

/** `domain` of the ErrorInfo of every error of this service. */
export const ERROR_DOMAIN = "artifacts.dstack.ai";

/** A reason by its name, without the enum's prefix; one of a newer server is a string that the enum doesn't have. */
export type ReasonName = Exclude<keyof typeof ErrorReason, "UNSPECIFIED">;

/** What an error says for programs. */
export interface Failure {
  readonly code: Code;
  /** For people, without the code in front. */
  readonly message: string;
  /** Undefined when the error isn't the service's own: a lost connection, a proxy, a bug. */
  readonly reason: ReasonName | undefined;
  readonly metadata: Readonly<Record<string, string>>;
  /** How long to wait before the next try, in milliseconds; undefined unless the server says that a retry can help. */
  readonly retryAfterMs: number | undefined;
}

const MS_PER_SECOND = 1_000;
const NS_PER_MS = 1_000_000;

/** What an error of a call says for programs. */
export function failureOf(error: ConnectError): Failure {
  const info = error.findDetails(ErrorInfoSchema).find((each) => each.domain === ERROR_DOMAIN);
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  return {
    code: error.code,
    message: error.rawMessage,
    reason: info !== undefined && info.reason in ErrorReason ? (info.reason as ReasonName) : undefined,
    metadata: info?.metadata ?? {},
    retryAfterMs: delay === undefined ? undefined : Number(delay.seconds) * MS_PER_SECOND + delay.nanos / NS_PER_MS,
  };
}

/** The detail that says an error's reason, to be given to `new ConnectError`. */
export function reasonDetail(reason: ReasonName, metadata: Record<string, string> = {}) {
  return { desc: ErrorInfoSchema, value: { reason, domain: ERROR_DOMAIN, metadata } };
}

/** The trailers that end a call: well, when there is no error. */
export function encodeStatus(error: ConnectError | undefined): OutgoingHttpHeaders {
  const trailers = new Headers();
  setTrailerStatus(trailers, error);
  return Object.fromEntries(trailers);
}

/** The error that trailers (or the headers of an answer without a body) tell of; undefined when all is well. */
export function decodeStatus(trailers: IncomingHttpHeaders): ConnectError | undefined {
  if (trailers["grpc-status"] === undefined) return new ConnectError("the answer ended without a status", Code.Unavailable);
  const headers = new Headers();
  for (const [name, value] of Object.entries(trailers)) {
    if (name.startsWith(":") || value === undefined) continue;
    for (const each of Array.isArray(value) ? value : [value]) headers.append(name, each);
  }
  try {
    return findTrailerError(headers);
  } catch (error) {
    // Details or a message that don't decode, from something that isn't this service.
    return new ConnectError("the answer's status can't be read", Code.Internal, undefined, undefined, error);
  }
}

/** Of one unit of grpc-timeout, in milliseconds. */
const TIMEOUT_UNITS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 0.001, n: 0.000_001 };
/** What a timer of the runtime can wait, in milliseconds; what is longer is as good as no timeout. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Milliseconds of a grpc-timeout header; undefined when there is none. */
export function decodeTimeout(header: string | string[] | undefined): number | undefined {
  if (header === undefined) return undefined;
  const [, value, unit] = /^(\d{1,8})([HMSmun])$/.exec(String(header)) ?? [];
  if (value === undefined || unit === undefined)
    throw new ConnectError(`not a grpc-timeout: ${header}`, Code.InvalidArgument, undefined, [reasonDetail("MESSAGE_INVALID")]);
  const timeoutMs = Number(value) * (TIMEOUT_UNITS[unit] as number);
  return timeoutMs > MAX_TIMER_MS ? undefined : timeoutMs;
}
