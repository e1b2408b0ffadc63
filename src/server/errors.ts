/** Failures as clients see them: one table from reasons to status codes. */
import { Code, ConnectError } from "@connectrpc/connect";
import { RetryInfoSchema } from "../../gen/ts/google/rpc/error_details_pb.ts";
import { ArtifactsFailure, type Reason } from "../artifacts/errors.ts";
import { StoreError, type StoreErrorKind } from "../store/driver.ts";
import { reasonDetail } from "../wire/status.ts";

interface Status {
  readonly code: Code;
  /** The same call may succeed later, so RetryInfo goes with it. */
  readonly retryable?: true;
}

const STATUSES = {
  NAME_INVALID: { code: Code.InvalidArgument },
  PATH_INVALID: { code: Code.InvalidArgument },
  PATH_CONFLICT: { code: Code.InvalidArgument },
  UPLOAD_ID_INVALID: { code: Code.InvalidArgument },
  MESSAGE_INVALID: { code: Code.InvalidArgument },
  SIZE_MISMATCH: { code: Code.InvalidArgument },
  REFERENCE_INVALID: { code: Code.InvalidArgument },
  PAGE_TOKEN_INVALID: { code: Code.InvalidArgument },
  RANGE_INVALID: { code: Code.OutOfRange },
  RUN_NOT_FOUND: { code: Code.NotFound },
  COMMIT_NOT_FOUND: { code: Code.NotFound },
  TAG_NOT_FOUND: { code: Code.NotFound },
  PATH_NOT_FOUND: { code: Code.NotFound },
  UPLOAD_NOT_FOUND: { code: Code.NotFound },
  TAG_EXISTS: { code: Code.AlreadyExists },
  RUN_RESERVED: { code: Code.AlreadyExists },
  RUN_HAS_TAGS: { code: Code.FailedPrecondition },
  UPLOAD_ID_MISMATCH: { code: Code.FailedPrecondition },
  UPLOAD_GONE: { code: Code.FailedPrecondition },
  UPLOAD_FINISHED: { code: Code.FailedPrecondition },
  PERSISTED_MISSING: { code: Code.FailedPrecondition },
  CHECKSUM_MISMATCH: { code: Code.DataLoss },
  DATA_DAMAGED: { code: Code.DataLoss },
  TOKEN_MISSING: { code: Code.Unauthenticated },
  TOKEN_INVALID: { code: Code.Unauthenticated },
  ACCESS_DENIED: { code: Code.PermissionDenied },
  STORE_UNAVAILABLE: { code: Code.Unavailable, retryable: true },
  STORE_FULL: { code: Code.ResourceExhausted },
  STORE_MISCONFIGURED: { code: Code.FailedPrecondition },
  FORMAT_UNKNOWN: { code: Code.FailedPrecondition },
  SERVER_STOPPING: { code: Code.Unavailable, retryable: true },
  SERVER_BUSY: { code: Code.ResourceExhausted, retryable: true },
  INTERNAL: { code: Code.Internal },
} satisfies Record<Reason, Status>;

const STORE_REASONS = {
  // Keys are never deleted while something points at them: what is missing is lost.
  notFound: "DATA_DAMAGED",
  outOfRange: "DATA_DAMAGED",
  damaged: "DATA_DAMAGED",
  temporary: "STORE_UNAVAILABLE",
  denied: "STORE_MISCONFIGURED",
  misconfigured: "STORE_MISCONFIGURED",
  unsupported: "STORE_MISCONFIGURED",
  full: "STORE_FULL",
  failed: "INTERNAL",
} satisfies Record<StoreErrorKind, Reason>;

/** How long a client is asked to wait where the store didn't say, in milliseconds. */
const RETRY_AFTER_MS = 1_000;
/** Statuses travel in headers, of which gRPC's clients take 8 KiB in all, percent- and base64-encoded. */
const MAX_TEXT_LENGTH = 1_024;

/** A failure's status with its details. */
export function failureToConnect({ reason, message, metadata }: ArtifactsFailure, retryAfterMs?: number): ConnectError {
  const status: Status = STATUSES[reason];
  const info = reasonDetail(reason, Object.fromEntries(Object.entries(metadata).map(([key, value]) => [key, cut(value)])));
  const error = new ConnectError(cut(message), status.code, undefined, [info]);
  if (status.retryable) error.details.push(retryInfo(retryAfterMs ?? RETRY_AFTER_MS));
  return error;
}

/**
 * What a client is told of anything that was thrown. `onFault` is told of what it isn't: bugs, and errors of stores that should not be
 * possible; it gives the text for the client.
 */
export function toConnectError(error: unknown, onFault: (error: unknown) => string): ConnectError {
  if (error instanceof ArtifactsFailure) {
    return error.reason === "INTERNAL" ? failureToConnect(new ArtifactsFailure("INTERNAL", onFault(error))) : failureToConnect(error);
  }
  if (error instanceof StoreError) {
    const reason = STORE_REASONS[error.kind];
    const text = reason === "INTERNAL" ? onFault(error) : error.message;
    return failureToConnect(new ArtifactsFailure(reason, text), error.retryAfterMs);
  }
  if (error instanceof ConnectError && error.code !== Code.Internal && error.code !== Code.Unknown) return ofProtocol(error);
  if (error instanceof ConnectError && error.cause === undefined) return error;
  return failureToConnect(new ArtifactsFailure("INTERNAL", onFault(error)));
}

/** connect's own errors: a message that is too large or not to be decoded has a reason of ours, the others are the protocol's. */
function ofProtocol(error: ConnectError): ConnectError {
  const tooLarge = error.code === Code.ResourceExhausted && error.rawMessage.includes("readMaxBytes");
  const undecodable = error.code === Code.InvalidArgument && error.details.length === 0;
  return tooLarge || undecodable ? failureToConnect(new ArtifactsFailure("MESSAGE_INVALID", error.rawMessage)) : error;
}

function retryInfo(ms: number) {
  return {
    desc: RetryInfoSchema,
    value: { retryDelay: { seconds: BigInt(Math.floor(ms / 1_000)), nanos: Math.round((ms % 1_000) * 1_000_000) } },
  };
}

function cut(text: string): string {
  return text.length <= MAX_TEXT_LENGTH ? text : `${text.slice(0, MAX_TEXT_LENGTH).toWellFormed()}…`;
}
