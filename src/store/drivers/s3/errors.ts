/** What Amazon S3's errors mean: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html */
import type { StoreError } from "../../driver.ts";
import type { Diagnosis, Failure } from "../cloud/errors.ts";
import { diagnoseConnection, diagnoseStatus, toStoreError } from "../cloud/errors.ts";
import type { S3Settings } from "./url.ts";

/** What the host's name is made of. */
const HOST_FROM = "the parameters endpoint and region";

/** `exists`: a conditional put met an object, which is an answer. */
type S3Diagnosis = Diagnosis | { readonly kind: "exists"; readonly text: string };

/** The SDK's errors, as far as they are looked at. */
interface SdkError extends Error {
  readonly Code?: string;
  readonly $metadata?: { readonly httpStatusCode?: number };
  readonly $response?: { readonly statusCode?: number; readonly headers?: Record<string, string> };
}

type Advice = (settings: S3Settings, failure: Failure) => string;

const words = (text: string): readonly string[] => text.split(" ");

/** The store's codes by what they mean. */
const CODES: readonly { codes: readonly string[]; kind: S3Diagnosis["kind"]; text: Advice }[] = [
  { codes: words("PreconditionFailed"), kind: "exists", text: () => "it exists" },
  { codes: words("NoSuchKey"), kind: "notFound", text: () => "there is no such object" },
  { codes: words("InvalidRange"), kind: "outOfRange", text: () => "the range starts past the object's end" },
  {
    codes: words("BadDigest XAmzContentChecksumMismatch XAmzContentSHA256Mismatch InvalidDigest"),
    kind: "damaged",
    text: (_, failure) => `what arrived isn't what was sent (${failure.code})`,
  },
  {
    codes: words(
      "ConditionalRequestConflict OperationAborted SlowDown ServiceUnavailable InternalError RequestTimeout RequestLimitExceeded " +
        "Throttling ThrottlingException TooManyRequestsException BandwidthLimitExceeded IncompleteBody XMinioServerNotInitialized " +
        // versitygw, when a put meets the removal of the folder that the last object before it left empty.
        "ExistingObjectIsDirectory",
    ),
    kind: "temporary",
    text: (_, failure) => `the store asks to try again (${failure.code})`,
  },
  {
    codes: words("NoSuchBucket InvalidBucketName"),
    kind: "misconfigured",
    text: ({ bucket }) => `there is no bucket ${bucket}: create it, or name another in the store's URL`,
  },
  {
    codes: words("InvalidAccessKeyId XAdminUserNotFound"),
    kind: "denied",
    text: ({ bucket }) => `the access key isn't known where bucket ${bucket} is: check AWS_ACCESS_KEY_ID, or AWS_PROFILE, and the endpoint`,
  },
  {
    codes: words("SignatureDoesNotMatch"),
    kind: "denied",
    text: () => "the secret access key is wrong: check AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
  },
  {
    codes: words("ExpiredToken ExpiredTokenException TokenRefreshRequired InvalidToken RequestExpired"),
    kind: "denied",
    text: (_, failure) => `the credentials have expired (${failure.code}): renew them (AWS_SESSION_TOKEN, or \`aws sso login\`)`,
  },
  {
    codes: words("CredentialsProviderError TokenProviderError"),
    kind: "denied",
    text: () => "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role",
  },
  {
    codes: words("RequestTimeTooSkewed"),
    kind: "denied",
    text: () => "this machine's clock differs too much from the store's: set it",
  },
  {
    codes: words("AccessDenied AllAccessDisabled AccountProblem InvalidPayer"),
    kind: "denied",
    text: ({ bucket, prefix }, { message }) =>
      `access to bucket ${bucket} was denied (${message}): allow s3:ListBucket on it, and s3:GetObject, s3:PutObject and s3:DeleteObject on ${prefix}*`,
  },
  {
    codes: words("PermanentRedirect TemporaryRedirect Redirect MovedPermanently IllegalLocationConstraintException"),
    kind: "misconfigured",
    text: (settings) => otherRegion(settings),
  },
  {
    codes: words("QuotaExceeded XMinioStorageFull InsufficientStorage StorageFull"),
    kind: "full",
    text: ({ bucket }, { message }) => `bucket ${bucket} has no space left (${message})`,
  },
  {
    codes: words("NotImplemented"),
    kind: "unsupported",
    text: (_, { message }) => `the store doesn't know a header that was sent (${message}): the parameter checksum=when_required may help`,
  },
  {
    codes: words("InvalidStorageClass"),
    kind: "misconfigured",
    text: () => "the store doesn't know this storage class: check the parameter storage_class",
  },
  {
    codes: words("InvalidObjectState"),
    kind: "misconfigured",
    text: ({ bucket }) => `the object is archived: bucket ${bucket} must not move objects to a storage class that isn't read at once`,
  },
];
const BY_CODE = new Map(CODES.flatMap((meaning) => meaning.codes.map((code) => [code, meaning] as const)));

export function diagnose(settings: S3Settings, error: unknown): S3Diagnosis {
  return diagnoseFailure(settings, failureOf(error));
}

export function s3Error(settings: S3Settings, what: string, error: unknown): StoreError {
  const failure = failureOf(error);
  return toStoreError(settings.name, what, diagnoseFailure(settings, failure) as Diagnosis, failure);
}

function diagnoseFailure(settings: S3Settings, failure: Failure): S3Diagnosis {
  const { code, message = "", status } = failure;
  // The one code that names the right region, in its message.
  if (code === "AuthorizationHeaderMalformed" && /region/i.test(message)) {
    return { kind: "misconfigured", text: `${otherRegion(settings)} (${message})` };
  }
  const known = BY_CODE.get(code ?? "");
  if (known) return { kind: known.kind, text: known.text(settings, failure) };
  if (code?.startsWith("KMS.") || /\bKMS\b/.test(message)) {
    return { kind: "denied", text: `the key of the bucket or of the parameter sse_kms_key_id can't be used (${code} ${message})` };
  }
  if (/Region is missing/.test(message)) {
    return { kind: "misconfigured", text: "no region is known: give the parameter region, or set AWS_REGION" };
  }
  if (status === 412) return { kind: "exists", text: "it exists" };
  if (status === 416) return { kind: "outOfRange", text: "the range starts past the object's end" };
  if (status === 301 || status === 307) return { kind: "misconfigured", text: otherRegion(settings) };
  const general = diagnoseConnection(failure.error, HOST_FROM) ?? diagnoseStatus(failure);
  if (general) return general;
  if (status === undefined || status < 300) {
    if (failure.error instanceof Error && failure.error.name === "TimeoutError") return { kind: "temporary", text: message };
    return { kind: "failed", text: message };
  }
  return { kind: "failed", text: [status, code, message].filter(Boolean).join(" ") };
}

function otherRegion({ bucket, region }: S3Settings): string {
  return `bucket ${bucket} is in another region than ${region ?? "the configured one"}: set the parameter region`;
}

function failureOf(error: unknown): Failure {
  const { name, Code, message, $metadata, $response } = error as SdkError;
  const status = $metadata?.httpStatusCode ?? $response?.statusCode;
  const code = Code ?? (name === "Error" || name === "Unknown" || name === "UnknownError" ? undefined : name);
  return { error, status, code, message, retryAfter: $response?.headers?.["retry-after"] };
}
