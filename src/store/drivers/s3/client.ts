import type { S3Client, S3ClientConfig } from "@aws-sdk/client-s3";
import { openConnections } from "../cloud/connections.ts";
import { CONNECTION_TIMEOUT_MS } from "../cloud/ranges.ts";
import { readRangesBy } from "./ranges.ts";
import type { S3Settings } from "./url.ts";

export interface OpenClient {
  readonly client: S3Client;
  /** Ends its connections. */
  close(): void;
}

/**
 * With no logger the SDK warns on the console of every failed put of a stream; with an `info`, it puts together what could be logged of
 * each call, for a tenth of what the call costs.
 */
const SILENT = { debug() {}, warn() {}, error() {} } as unknown as NonNullable<S3ClientConfig["logger"]>;

/** Makes the SDK's client. */
export function openClient(Client: new (config: S3ClientConfig) => S3Client, settings: S3Settings, env: NodeJS.ProcessEnv): OpenClient {
  const { httpAgent, httpsAgent, ranges, close } = openConnections(settings.name, env, env.AWS_CA_BUNDLE || undefined);
  const credentials = credentialsFrom(env);
  const client = new Client({
    ...(settings.region === undefined ? {} : { region: settings.region }),
    ...(settings.endpoint === undefined ? {} : { endpoint: settings.endpoint }),
    ...(credentials === undefined ? {} : { credentials }),
    forcePathStyle: settings.pathStyle,
    // One policy decides about retries: src/store/layers/retry.ts.
    maxAttempts: 1,
    logger: SILENT,
    // Bodies carry a checksum of ours, and what is read is checked by us.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    // A round trip before each large body would save sending only bodies that lose a race, and those are small.
    expectContinueHeader: false,
    requestHandler: { httpAgent, httpsAgent, connectionTimeout: CONNECTION_TIMEOUT_MS },
  });
  if (ranges) readRangesBy(client, ranges);
  return { client, close };
}

/** Keys that the environment holds itself. Without them, or where a profile is named, which comes first, AWS's default chain looks on. */
function credentialsFrom(env: NodeJS.ProcessEnv): { accessKeyId: string; secretAccessKey: string; sessionToken?: string } | undefined {
  const {
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_SESSION_TOKEN: sessionToken,
    AWS_PROFILE: profile,
  } = env;
  if (!accessKeyId || !secretAccessKey || profile) return undefined;
  return { accessKeyId, secretAccessKey, ...(sessionToken ? { sessionToken } : {}) };
}
