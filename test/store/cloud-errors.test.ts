/**
 * What each cloud's own refusals become. The servers of the other tests never give most of these, so the answers here are scripted, as the
 * clouds document them:
 * https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
 * https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes
 * https://cloud.google.com/storage/docs/json_api/v1/status-codes
 */
import assert from "node:assert/strict";
import type { Driver, StoreErrorKind } from "../../src/store/driver.ts";
import { openAzure } from "../../src/store/drivers/azure.ts";
import { openGcs } from "../../src/store/drivers/gcs.ts";
import { openS3 } from "../../src/store/drivers/s3.ts";
import { type HttpProxy, startHttpProxy } from "../servers/http-proxy.ts";
import { put, rejectsWith, testBytes } from "./conformance.ts";

type Call = "put" | "read" | "list" | "delete";
interface Refusal {
  readonly call: Call;
  readonly status: number;
  /** The store's word for it, and its sentence. */
  readonly code: string;
  readonly message?: string;
  readonly headers?: Record<string, string>;
  readonly kind: StoreErrorKind;
  /** What the error must tell. */
  readonly says: RegExp;
}

const CALLS: Readonly<Record<Call, (driver: Driver) => Promise<unknown>>> = {
  put: (driver) => put(driver, "log/1", testBytes(10)),
  read: (driver) => driver.read("log/1", undefined),
  list: (driver) => driver.list("log/"),
  delete: (driver) => driver.delete("log/1"),
};

const S3: readonly Refusal[] = [
  { call: "list", status: 403, code: "AccessDenied", kind: "denied", says: /bucket box .*allow s3:ListBucket.* on team\/\*/ },
  { call: "put", status: 403, code: "AccessDenied", kind: "denied", says: /s3:PutObject/ },
  { call: "list", status: 403, code: "InvalidAccessKeyId", kind: "denied", says: /AWS_ACCESS_KEY_ID/ },
  { call: "list", status: 403, code: "SignatureDoesNotMatch", kind: "denied", says: /AWS_SECRET_ACCESS_KEY/ },
  { call: "read", status: 400, code: "ExpiredToken", kind: "denied", says: /expired.*AWS_SESSION_TOKEN/ },
  { call: "read", status: 403, code: "RequestTimeTooSkewed", kind: "denied", says: /clock/ },
  { call: "read", status: 404, code: "NoSuchBucket", kind: "misconfigured", says: /no bucket box: create it/ },
  { call: "read", status: 416, code: "InvalidRange", kind: "outOfRange", says: /starts past/ },
  { call: "read", status: 404, code: "NoSuchKey", kind: "notFound", says: /no such object/ },
  { call: "list", status: 301, code: "PermanentRedirect", kind: "misconfigured", says: /another region.*parameter region/ },
  {
    call: "list",
    status: 400,
    code: "AuthorizationHeaderMalformed",
    message: "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'",
    kind: "misconfigured",
    says: /parameter region .*'eu-west-1'/,
  },
  { call: "put", status: 409, code: "ConditionalRequestConflict", kind: "temporary", says: /ConditionalRequestConflict/ },
  { call: "put", status: 503, code: "SlowDown", headers: { "retry-after": "7" }, kind: "temporary", says: /SlowDown/ },
  { call: "put", status: 500, code: "InternalError", kind: "temporary", says: /InternalError/ },
  { call: "put", status: 400, code: "RequestTimeout", kind: "temporary", says: /RequestTimeout/ },
  { call: "put", status: 400, code: "BadDigest", kind: "damaged", says: /isn't what was sent/ },
  { call: "put", status: 400, code: "InvalidStorageClass", kind: "misconfigured", says: /storage_class/ },
  { call: "put", status: 501, code: "NotImplemented", kind: "unsupported", says: /checksum=when_required/ },
  { call: "put", status: 400, code: "KMS.DisabledException", kind: "denied", says: /sse_kms_key_id/ },
  { call: "put", status: 403, code: "QuotaExceeded", kind: "full", says: /bucket box has no space left/ },
  { call: "read", status: 403, code: "InvalidObjectState", kind: "misconfigured", says: /archived/ },
  { call: "delete", status: 400, code: "SomethingNew", message: "what nobody knows", kind: "failed", says: /400 SomethingNew what nobody/ },
];

const AZURE: readonly Refusal[] = [
  {
    call: "list",
    status: 403,
    code: "AuthorizationPermissionMismatch",
    kind: "denied",
    says: /container box.*Storage Blob Data Contributor/,
  },
  { call: "list", status: 403, code: "AuthenticationFailed", kind: "denied", says: /AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY/ },
  { call: "list", status: 403, code: "KeyBasedAuthenticationNotPermitted", kind: "denied", says: /unset AZURE_STORAGE_KEY/ },
  { call: "read", status: 404, code: "ContainerNotFound", kind: "misconfigured", says: /no container box: create it/ },
  { call: "read", status: 416, code: "InvalidRange", kind: "outOfRange", says: /starts past/ },
  { call: "read", status: 404, code: "BlobNotFound", kind: "notFound", says: /no such object/ },
  { call: "put", status: 503, code: "ServerBusy", headers: { "retry-after": "7" }, kind: "temporary", says: /ServerBusy/ },
  { call: "put", status: 500, code: "OperationTimedOut", kind: "temporary", says: /OperationTimedOut/ },
  { call: "put", status: 400, code: "Md5Mismatch", kind: "damaged", says: /isn't what was sent/ },
  { call: "put", status: 400, code: "InvalidBlobTier", kind: "misconfigured", says: /access_tier/ },
  { call: "put", status: 404, code: "EncryptionScopeNotFound", kind: "misconfigured", says: /encryption_scope/ },
  { call: "put", status: 507, code: "AccountQuotaExceeded", kind: "full", says: /no space left/ },
  { call: "read", status: 409, code: "BlobArchived", kind: "misconfigured", says: /archived/ },
  { call: "delete", status: 400, code: "SomethingNew", kind: "failed", says: /400 SomethingNew/ },
];

const GCS: readonly Refusal[] = [
  {
    call: "list",
    status: 403,
    code: "forbidden",
    message: "x lacks storage.objects.list",
    kind: "denied",
    says: /bucket box.*Storage Object User/,
  },
  { call: "read", status: 401, code: "authError", kind: "denied", says: /GOOGLE_APPLICATION_CREDENTIALS/ },
  { call: "put", status: 404, code: "notFound", message: "Not Found", kind: "misconfigured", says: /no bucket box: create it/ },
  {
    call: "read",
    status: 404,
    code: "notFound",
    message: "The specified bucket does not exist.",
    kind: "misconfigured",
    says: /no bucket box/,
  },
  {
    call: "delete",
    status: 404,
    code: "notFound",
    message: "The specified bucket does not exist.",
    kind: "misconfigured",
    says: /no bucket box/,
  },
  { call: "read", status: 404, code: "notFound", message: "No such object: box/team/log/1", kind: "notFound", says: /no such object/ },
  { call: "put", status: 429, code: "rateLimitExceeded", headers: { "retry-after": "7" }, kind: "temporary", says: /429/ },
  { call: "put", status: 403, code: "userRateLimitExceeded", kind: "temporary", says: /userRateLimitExceeded/ },
  { call: "put", status: 503, code: "backendError", kind: "temporary", says: /backendError/ },
  {
    call: "put",
    status: 400,
    code: "invalid",
    message: 'Provided CRC32C "AAAAAA==" doesn\'t match calculated CRC32C "AAAAAQ=="',
    kind: "damaged",
    says: /isn't what was sent/,
  },
  {
    call: "list",
    status: 400,
    code: "required",
    message: "Bucket is a requester pays bucket but no user project provided.",
    kind: "misconfigured",
    says: /parameter user_project/,
  },
  { call: "put", status: 403, code: "forbidden", message: "Permission denied on Cloud KMS key", kind: "denied", says: /kms_key_name/ },
  { call: "delete", status: 400, code: "somethingNew", kind: "failed", says: /400 somethingNew/ },
];

interface Cloud {
  readonly open: (url: string) => Promise<Driver>;
  readonly refusals: readonly Refusal[];
  readonly answer: (refusal: Refusal) => { headers: Record<string, string>; body: string };
  /** What tells a conditional put that the key is there. */
  readonly exists: Pick<Refusal, "status" | "code">;
}

const KEY = Buffer.alloc(64, 1).toString("base64");
const xml = ({ code, message = "no" }: Pick<Refusal, "code" | "message">) =>
  `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`;

const CLOUDS: Readonly<Record<string, Cloud>> = {
  "Amazon S3": {
    open: (url) => openS3(`s3://box/team?endpoint=${url}`, { AWS_ACCESS_KEY_ID: "id", AWS_SECRET_ACCESS_KEY: "secret" }),
    refusals: S3,
    answer: (refusal) => ({ headers: { "content-type": "application/xml", ...refusal.headers }, body: xml(refusal) }),
    exists: { status: 412, code: "PreconditionFailed" },
  },
  "Azure Blob Storage": {
    open: (url) => openAzure(`az://box/team?endpoint=${url}`, { AZURE_STORAGE_ACCOUNT: "account", AZURE_STORAGE_KEY: KEY }),
    refusals: AZURE,
    answer: (refusal) => ({
      headers: { "content-type": "application/xml", "x-ms-error-code": refusal.code, ...refusal.headers },
      body: xml(refusal),
    }),
    exists: { status: 409, code: "BlobAlreadyExists" },
  },
  "Google Cloud Storage": {
    open: (url) => openGcs(`gs://box/team?endpoint=${url}`, {}),
    refusals: GCS,
    answer: ({ status, code, message = code, headers = {} }) => ({
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify({ error: { code: status, message, errors: [{ reason: code, message }] } }),
    }),
    exists: { status: 412, code: "conditionNotMet" },
  },
};

for (const [name, { open, refusals, answer, exists }] of Object.entries(CLOUDS)) {
  describe(`refusals of ${name}`, () => {
    let proxy: HttpProxy;
    let driver: Driver;
    before(async () => {
      // Nothing is passed on.
      proxy = await startHttpProxy("http://127.0.0.1:9");
      driver = await open(proxy.url);
    });
    after(async () => {
      await driver.close();
      await proxy.stop();
    });

    for (const refusal of refusals) {
      const { call, status, code, kind, says, message } = refusal;
      it(`${status} ${code}${message ? ` (${message})` : ""} to a ${call} is ${kind}, asked for once`, async () => {
        proxy.onRequest = () => ({ kind: "answer", status, ...answer(refusal) });
        const before = proxy.requests.length;
        const error = await rejectsWith(kind, CALLS[call](driver));
        assert.match(error.message, says);
        assert.ok(error.message.startsWith(`${driver.name}: `), error.message);
        assert.equal(error.retryAfterMs, refusal.headers === undefined ? undefined : 7000);
        assert.equal(proxy.requests.length - before, 1, "no retries of the SDK's");
      });
    }

    it(`${exists.status} ${exists.code} to a put says that the key exists`, async () => {
      proxy.onRequest = () => ({ kind: "answer", status: exists.status, ...answer({ ...exists, call: "put", kind: "failed", says: /./ }) });
      assert.equal(await CALLS.put(driver), false);
    });

    it("502 of something in between, in HTML, is temporary", async () => {
      proxy.onRequest = () => ({ kind: "answer", status: 502, headers: { "content-type": "text/html" }, body: "<html>Bad Gateway</html>" });
      for (const call of Object.values(CALLS)) await rejectsWith("temporary", call(driver));
    });
  });
}
