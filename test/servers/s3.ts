import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { type RunningServer, startServer } from "./process.ts";

/** A server that speaks Amazon S3's protocol. */
export interface S3Server extends RunningServer {
  /** What a process needs in its environment to use it. */
  readonly env: NodeJS.ProcessEnv;
  createBucket(name: string): Promise<void>;
}

const ACCESS_KEY = "test-access-key";
const SECRET_KEY = "test-secret-key";
const REGION = "us-east-1";

/** A gateway that keeps objects as files: strict about signatures and checksums, but `a` and `a/b` can't both be objects. */
export async function startVersitygw(): Promise<S3Server> {
  const server = await startServer({
    name: "versitygw",
    // Without --keep-alive it closes each connection after an answer.
    args: (port, folder) =>
      `--port 127.0.0.1:${port} --access ${ACCESS_KEY} --secret ${SECRET_KEY} --region ${REGION} --health /health --quiet --keep-alive posix`
        .split(" ")
        .concat(folder),
    healthPath: "/health",
  });
  return s3Server(server);
}

/** Knows most of S3's parameters, and any key; doesn't check the secret. */
export async function startLocalstack(): Promise<S3Server> {
  const server = await startServer({
    name: "localstack",
    args: () => ["-m", "localstack.runtime.main"],
    env: (port) => ({
      SERVICES: "s3",
      GATEWAY_LISTEN: `127.0.0.1:${port}`,
      LOCALSTACK_HOST: `127.0.0.1:${port}`,
      EAGER_SERVICE_LOADING: "1",
      DISABLE_EVENTS: "1",
      SKIP_SSL_CERT_DOWNLOAD: "1",
      DNS_ADDRESS: "0",
      S3_SKIP_SIGNATURE_VALIDATION: "0",
    }),
    healthPath: "/_localstack/health",
    healthText: '"s3": "running"',
  });
  return s3Server(server);
}

function s3Server(server: RunningServer): S3Server {
  const env = {
    AWS_ACCESS_KEY_ID: ACCESS_KEY,
    AWS_SECRET_ACCESS_KEY: SECRET_KEY,
    AWS_REGION: REGION,
    AWS_ENDPOINT_URL_S3: server.url,
  };
  return {
    ...server,
    env,
    async createBucket(name) {
      const client = new S3Client({
        endpoint: server.url,
        region: REGION,
        forcePathStyle: true,
        credentials: { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET_KEY },
      });
      await client.send(new CreateBucketCommand({ Bucket: name }));
      client.destroy();
    },
  };
}
