import type { ServerSideEncryption, StorageClass } from "@aws-sdk/client-s3";
import { StoreError } from "../../driver.ts";
import { checkAddress, parseCloudUrl } from "../cloud/url.ts";

/** What an S3 store's URL says, with what the environment adds. */
export interface S3Settings {
  readonly name: string;
  readonly bucket: string;
  readonly prefix: string;
  readonly region: string | undefined;
  /** The store's address where it isn't Amazon's. */
  readonly endpoint: string | undefined;
  readonly pathStyle: boolean;
  /** Whether the store knows `x-amz-checksum-crc32c`; Content-MD5 takes its place where it doesn't. */
  readonly s3Checksums: boolean;
  readonly storageClass: StorageClass | undefined;
  readonly sse: ServerSideEncryption | undefined;
  readonly sseKmsKeyId: string | undefined;
  readonly requestPayer: boolean;
}

const PARAMETERS = ["region", "endpoint", "path_style", "checksum", "sse", "sse_kms_key_id", "storage_class", "requester_pays"] as const;
const ENCRYPTIONS = ["AES256", "aws:kms", "aws:kms:dsse"];
/** For stores with an endpoint of their own, most of which have no regions but want one in the signature. */
const ANY_REGION = "us-east-1";

export function parseS3Url(text: string, env: NodeJS.ProcessEnv): S3Settings {
  const url = parseCloudUrl(text, { scheme: "s3", bucketWord: "bucket", parameters: PARAMETERS });
  const { name } = url;
  const endpoint = url.address("endpoint") ?? endpointFrom(env);
  const checksum = url.parameter("checksum") ?? "crc32c";
  if (checksum !== "crc32c" && checksum !== "when_required") {
    throw new StoreError("misconfigured", `${name}: the parameter checksum is crc32c or when_required`);
  }
  const sseKmsKeyId = url.parameter("sse_kms_key_id");
  const sse = url.parameter("sse") ?? (sseKmsKeyId === undefined ? undefined : "aws:kms");
  if (sse !== undefined && !ENCRYPTIONS.includes(sse)) {
    throw new StoreError("misconfigured", `${name}: the parameter sse is one of ${ENCRYPTIONS.join(", ")}`);
  }
  return {
    name,
    bucket: url.bucket,
    prefix: url.prefix,
    region: url.parameter("region") ?? (env.AWS_REGION || env.AWS_DEFAULT_REGION || (endpoint && ANY_REGION)),
    endpoint,
    pathStyle: url.flag("path_style") ?? (endpoint !== undefined && isLiteralHost(new URL(endpoint).hostname)),
    s3Checksums: checksum === "crc32c",
    storageClass: url.parameter("storage_class") as StorageClass | undefined,
    sse: sse as ServerSideEncryption | undefined,
    sseKmsKeyId,
    requestPayer: url.flag("requester_pays") ?? false,
  };
}

/** As the AWS SDKs read it. */
function endpointFrom(env: NodeJS.ProcessEnv): string | undefined {
  if (env.AWS_IGNORE_CONFIGURED_ENDPOINT_URLS === "true") return undefined;
  for (const variable of ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]) {
    const value = env[variable];
    if (value) return checkAddress(value, variable);
  }
  return undefined;
}

/** Whether no bucket's name can be put in front of a host. */
function isLiteralHost(host: string): boolean {
  return host === "localhost" || host.startsWith("[") || /^[\d.]+$/.test(host);
}
