/** What Azure Blob Storage's errors mean: https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes */
import type { StoreError } from "../../driver.ts";
import type { Diagnosis, Failure } from "../cloud/errors.ts";
import { diagnoseConnection, diagnoseStatus, toStoreError } from "../cloud/errors.ts";
import type { AzureSettings } from "./url.ts";

/** What the host's name is made of. */
const HOST_FROM = "the parameters account and endpoint";

/** `exists`: a conditional put met a blob, which is an answer. */
type AzureDiagnosis = Diagnosis | { readonly kind: "exists"; readonly text: string };

/** The SDK's errors, as far as they are looked at. */
interface SdkError extends Error {
  readonly code?: string;
  readonly statusCode?: number;
  readonly response?: { readonly headers?: { get(name: string): string | undefined } };
}

const words = (text: string): readonly string[] => text.split(" ");

/** The store's codes by what they mean. */
const CODES: readonly {
  codes: readonly string[];
  kind: AzureDiagnosis["kind"];
  text: (settings: AzureSettings, failure: Failure) => string;
}[] = [
  { codes: words("BlobAlreadyExists ConditionNotMet TargetConditionNotMet"), kind: "exists", text: () => "it exists" },
  { codes: words("BlobNotFound"), kind: "notFound", text: () => "there is no such object" },
  { codes: words("InvalidRange"), kind: "outOfRange", text: () => "the range starts past the object's end" },
  {
    codes: words("Md5Mismatch Crc64Mismatch InvalidMd5"),
    kind: "damaged",
    text: (_, failure) => `what arrived isn't what was sent (${failure.code})`,
  },
  {
    codes: words("ServerBusy InternalError OperationTimedOut RequestBodyIncomplete IncompleteBody ContainerBeingCreated"),
    kind: "temporary",
    text: (_, failure) => `the store asks to try again (${failure.code})`,
  },
  {
    codes: words("ContainerNotFound ResourceNotFound ContainerBeingDeleted ContainerDisabled InvalidResourceName"),
    kind: "misconfigured",
    text: ({ container }) => `there is no container ${container}: create it, or name another in the store's URL`,
  },
  {
    codes: words("AuthenticationFailed InvalidAuthenticationInfo NoAuthenticationInformation"),
    kind: "denied",
    text: ({ container, access }) => `access to container ${container} was refused: ${credentialAdvice(access)}`,
  },
  {
    codes: words("AuthorizationFailure AuthorizationPermissionMismatch InsufficientAccountPermissions AuthorizationSourceIPMismatch"),
    kind: "denied",
    text: ({ container, access }, { code }) =>
      `access to container ${container} was denied (${code}): ${
        isSigned(access) ? SIGNATURE_ADVICE : "give the identity the role Storage Blob Data Contributor on it, and the network access"
      }`,
  },
  {
    codes: words("KeyBasedAuthenticationNotPermitted AuthenticationTypeDisabled"),
    kind: "denied",
    text: ({ container }) =>
      `the account of container ${container} takes no account keys: unset AZURE_STORAGE_KEY and AZURE_STORAGE_CONNECTION_STRING to use an identity`,
  },
  {
    codes: words("CredentialUnavailableError AggregateAuthenticationError AuthenticationRequiredError"),
    kind: "denied",
    text: () =>
      "no credentials were found: set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY, or `az login`",
  },
  {
    codes: words("AccountIsDisabled"),
    kind: "denied",
    text: () => "the storage account is disabled",
  },
  {
    codes: words("BlobArchived BlobBeingRehydrated"),
    kind: "misconfigured",
    text: ({ container }) => `the object is archived: container ${container} must not move blobs to a tier that isn't read at once`,
  },
  {
    codes: words("InvalidBlobTier AccessTierNotSupportedForBlobType"),
    kind: "misconfigured",
    text: () => "the account doesn't have this tier: check the parameter access_tier",
  },
  {
    codes: words("EncryptionScopeNotFound EncryptionScopeDisabled"),
    kind: "misconfigured",
    text: () => "the account doesn't have this encryption scope: check the parameter encryption_scope",
  },
  {
    codes: words("AccountQuotaExceeded InsufficientStorage"),
    kind: "full",
    text: (_, { code }) => `the account has no space left (${code})`,
  },
];
const BY_CODE = new Map(CODES.flatMap((meaning) => meaning.codes.map((code) => [code, meaning] as const)));

export function diagnose(settings: AzureSettings, error: unknown): AzureDiagnosis {
  return diagnoseFailure(settings, failureOf(error));
}

export function azureError(settings: AzureSettings, what: string, error: unknown): StoreError {
  const failure = failureOf(error);
  return toStoreError(settings.name, what, diagnoseFailure(settings, failure) as Diagnosis, failure);
}

function diagnoseFailure(settings: AzureSettings, failure: Failure): AzureDiagnosis {
  const { code, message = "", status } = failure;
  const known = BY_CODE.get(code ?? "");
  if (known) return { kind: known.kind, text: known.text(settings, failure) };
  if (status === 412) return { kind: "exists", text: "it exists" };
  if (status === 416) return { kind: "outOfRange", text: "the range starts past the object's end" };
  const general = diagnoseConnection(failure.error, HOST_FROM) ?? diagnoseStatus(failure);
  if (general) return general;
  if (isCutOff(failure)) return { kind: "temporary", text: "the answer was cut off" };
  // The SDK's words for a request that got no answer, with a cause that it doesn't hand on.
  if (code === "REQUEST_SEND_ERROR") return { kind: "temporary", text: `the connection failed (${message})` };
  return { kind: "failed", text: [status, code, message].filter(Boolean).join(" ") };
}

/**
 * The SDK has three words for a body that ends early: that of a blob whose connection closed, that of one whose connection was reset (which
 * is no abort of ours: those have been told apart before), and that of a listing.
 */
function isCutOff({ error, code, status, message = "" }: Failure): boolean {
  if (/received less data than required/i.test(message)) return true;
  return (error as Error).name === "AbortError" || (code === "PARSE_ERROR" && (status ?? 0) < 300);
}

/** What a shared access signature allows, and until when, is in it or in a policy of the container; the answer says neither. */
const SIGNATURE_ADVICE =
  "the shared access signature in AZURE_STORAGE_CONNECTION_STRING has expired or allows too little: make a new one that may read, create, write, list and delete";

function isSigned(access: AzureSettings["access"]): boolean {
  return access.by === "connectionString" && /(?:^|;)\s*SharedAccessSignature=/i.test(access.connectionString);
}

function credentialAdvice(access: AzureSettings["access"]): string {
  const { by } = access;
  if (isSigned(access)) return SIGNATURE_ADVICE;
  if (by === "connectionString") return "check the key in AZURE_STORAGE_CONNECTION_STRING, and this machine's clock";
  if (by === "key") return "check AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY, and this machine's clock";
  return "check the identity that the default chain finds (`az account show`)";
}

function failureOf(error: unknown): Failure {
  const { name, code, statusCode, message, response } = error as SdkError;
  const stated = response?.headers?.get("x-ms-error-code") ?? code;
  return {
    error,
    status: statusCode,
    code: stated ?? (name === "Error" || name === "RestError" ? undefined : name),
    // The lines that follow hold ids and times.
    message: message?.split("\n", 1)[0],
    retryAfter: response?.headers?.get("retry-after"),
  };
}
