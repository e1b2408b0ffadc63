/** What Google Cloud Storage's errors mean: https://cloud.google.com/storage/docs/json_api/v1/status-codes */
import type { StoreError } from "../../driver.ts";
import type { Diagnosis, Failure } from "../cloud/errors.ts";
import { diagnoseConnection, diagnoseStatus, toStoreError } from "../cloud/errors.ts";
import type { HttpAnswer } from "./http.ts";
import type { GcsSettings } from "./url.ts";

/** What the host's name is made of. */
const HOST_FROM = "the parameter endpoint";

/** An answer that isn't what was asked for. */
export class GcsAnswerError extends Error {
  readonly status: number;
  /** Google's word for it, such as `rateLimitExceeded`. */
  readonly reason: string | undefined;
  readonly retryAfter: string | undefined;

  constructor({ status, headers, body }: HttpAnswer) {
    const text = Buffer.from(body).toString("utf8");
    const { message, reason } = parseError(text);
    super(message ?? text);
    this.status = status;
    this.reason = reason;
    this.retryAfter = headers["retry-after"];
  }
}

/** No credentials could be had. */
export class GcsCredentialsError extends Error {}

function parseError(text: string): { message?: string; reason?: string } {
  try {
    const { error } = JSON.parse(text) as { error?: { message?: string; errors?: readonly { reason?: string }[] } };
    const reason = error?.errors?.[0]?.reason;
    return { ...(error?.message ? { message: error.message } : {}), ...(reason ? { reason } : {}) };
  } catch {
    return {};
  }
}

/** `ofBucket`: the call is for a bucket rather than an object, so that only the bucket can be missing. */
export function gcsError(settings: GcsSettings, what: string, error: unknown, ofBucket: boolean): StoreError {
  const failure: Failure =
    error instanceof GcsAnswerError
      ? { error, status: error.status, code: error.reason, message: error.message, retryAfter: error.retryAfter }
      : { error, message: (error as Error).message };
  return toStoreError(settings.name, what, diagnose(settings, failure, ofBucket), failure);
}

function diagnose(settings: GcsSettings, failure: Failure, ofBucket: boolean): Diagnosis {
  const { bucket, userProject } = settings;
  const { error, status, code, message = "" } = failure;
  if (error instanceof GcsCredentialsError) return diagnoseCredentials(error);
  if (status === 416) return { kind: "outOfRange", text: "the range starts past the object's end" };
  if (status === 404) {
    if (ofBucket || isBucketMissing(message)) {
      return { kind: "misconfigured", text: `there is no bucket ${bucket}: create it, or name another in the store's URL` };
    }
    return { kind: "notFound", text: "there is no such object" };
  }
  if (status === 400 && /crc32c|checksum|md5|hash/i.test(message)) {
    return { kind: "damaged", text: `what arrived isn't what was sent (${message})` };
  }
  if (status === 400 && /requester pays|user project/i.test(message) && userProject === undefined) {
    return { kind: "misconfigured", text: `bucket ${bucket} charges who reads: give the parameter user_project` };
  }
  if ((status === 403 && /rateLimit/i.test(code ?? "")) || code === "backendError") {
    return { kind: "temporary", text: `the store asks to try again (${code})` };
  }
  if (status === 401) {
    return {
      kind: "denied",
      text: "the credentials aren't accepted: renew them (`gcloud auth application-default login`, or GOOGLE_APPLICATION_CREDENTIALS)",
    };
  }
  if ((status === 400 || status === 403) && /kms|encryption key/i.test(message)) {
    return { kind: "denied", text: `the key of the bucket or of the parameter kms_key_name can't be used (${message})` };
  }
  if (status === 403) {
    return {
      kind: "denied",
      text: `access to bucket ${bucket} was denied (${message}): give the account the role Storage Object User on it`,
    };
  }
  const general = diagnoseConnection(error, HOST_FROM) ?? diagnoseStatus(failure);
  return general ?? { kind: "failed", text: [status, code, message].filter(Boolean).join(" ") };
}

/** Both an object and a bucket that isn't there is a 404. */
function isBucketMissing(message: string): boolean {
  return /bucket does not exist|bucket not found/i.test(message);
}

function diagnoseCredentials({ cause }: GcsCredentialsError): Diagnosis {
  const connection = diagnoseConnection(cause, HOST_FROM);
  if (connection) return connection;
  const { status, message } = cause as Error & { status?: number };
  if (status !== undefined && status >= 500)
    return { kind: "temporary", text: `Google's sign-in is out of order for the moment (${status})` };
  const ways = "set GOOGLE_APPLICATION_CREDENTIALS, `gcloud auth application-default login`, or give the machine a service account";
  return { kind: "denied", text: `no credentials could be had (${message}): ${ways}` };
}
