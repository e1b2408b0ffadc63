import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { type RunningServer, startServer } from "./process.ts";
import { pathOf } from "./programs.ts";

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
  return s3Server(await startGateway([]));
}

/** The same with accounts that can be made, changed and deleted while it runs. */
export async function startVersitygwWithAccounts(): Promise<
  S3Server & {
    /** Runs a command of the gateway's administration, such as `create-user`. */
    admin(...command: readonly string[]): Promise<void>;
  }
> {
  const accounts = await mkdtemp(join(tmpdir(), "dstack-artifacts-accounts-"));
  const gateway = await startGateway(["--iam-dir", accounts, "--iam-cache-disable"]);
  const login = ["admin", "--access", ACCESS_KEY, "--secret", SECRET_KEY, "--region", REGION, "--endpoint-url", gateway.url];
  return {
    ...s3Server(gateway),
    async admin(...command) {
      await promisify(execFile)(pathOf("versitygw"), [...login, ...command]);
    },
    async stop() {
      await gateway.stop();
      await rm(accounts, { recursive: true, force: true });
    },
  };
}

function startGateway(more: readonly string[]): Promise<RunningServer> {
  return startServer({
    name: "versitygw",
    // Without --keep-alive it closes each connection after an answer.
    args: (port, folder) => [
      ...`--port 127.0.0.1:${port} --access ${ACCESS_KEY} --secret ${SECRET_KEY} --region ${REGION} --health /health --quiet --keep-alive`.split(
        " ",
      ),
      ...more,
      "posix",
      folder,
    ],
    healthPath: "/health",
  });
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
