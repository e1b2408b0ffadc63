import type { S3ClientConfig } from "@aws-sdk/client-s3";
import { openAgents } from "../cloud/agents.ts";
import type { S3Settings } from "./url.ts";

/** What a connection may take to come about, in milliseconds: a host that drops packets is told from one that is slow. */
const CONNECTION_TIMEOUT_MS = 5000;

/** The SDK's configuration; `close` ends the connections that it made. */
export function clientConfig(settings: S3Settings, env: NodeJS.ProcessEnv): { config: S3ClientConfig; close(): void } {
  const agents = openAgents(settings.name, env, env.AWS_CA_BUNDLE || undefined);
  const credentials = credentialsFrom(env);
  return {
    config: {
      ...(settings.region === undefined ? {} : { region: settings.region }),
      ...(settings.endpoint === undefined ? {} : { endpoint: settings.endpoint }),
      ...(credentials === undefined ? {} : { credentials }),
      forcePathStyle: settings.pathStyle,
      // One policy decides about retries: src/store/layers/retry.ts.
      maxAttempts: 1,
      // The SDK warns on the console of every failed put of a stream.
      logger: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
      // Bodies carry a checksum of ours, and what is read is checked by us.
      requestChecksumCalculation: "WHEN_REQUIRED",
      responseChecksumValidation: "WHEN_REQUIRED",
      // A round trip before each large body would save sending only bodies that lose a race, and those are small.
      expectContinueHeader: false,
      requestHandler: { ...agents, connectionTimeout: CONNECTION_TIMEOUT_MS },
    },
    close() {
      agents.httpAgent.destroy();
      agents.httpsAgent.destroy();
    },
  };
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
