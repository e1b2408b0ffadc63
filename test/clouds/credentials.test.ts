/**
 * A server's credentials for its store end in the middle of an upload. It fails in one line that says what to do, nothing of it can be seen,
 * and with new credentials it goes on where it was. Google's server for tests takes any credentials, so that it can't show this.
 */
import { strict as assert } from "node:assert";
import fs from "node:fs";
import { join } from "node:path";
import {
  BlobServiceClient,
  ContainerSASPermissions,
  generateBlobSASQueryParameters,
  StorageSharedKeyCredential,
} from "@azure/storage-blob";
import { compareTrees, readTree } from "../../scripts/compare-trees.ts";
import { openArtifacts } from "../../src/compose.ts";
import { ArtifactsUploadError } from "../../src/index.ts";
import { type TempFolder, tempFolder } from "../client/support.ts";
import { until } from "../server/support.ts";
import { startAzurite } from "../servers/azure.ts";
import { type SeenRequest, startHttpProxy } from "../servers/http-proxy.ts";
import { startVersitygwWithAccounts } from "../servers/s3.ts";
import { makeTree } from "../support/tree.ts";
import { DATA_OBJECT_BYTES, startImpatientServer } from "./impatient-server.ts";
import type { StoreAddress } from "./stores.ts";

const OBJECTS = 8;
const BYTES = OBJECTS * DATA_OBJECT_BYTES;
const TREE = [{ path: "several objects", size: BYTES, seed: 1 }];
const BUCKET = "artifacts";
const HOUR_MS = 60 * 60 * 1000;

interface Credentials {
  /** Those that end, at the store behind this address. */
  first(address: string): StoreAddress;
  end(): Promise<void>;
  /** Those that come after them. */
  renewed(address: string): StoreAddress;
  /** What the error says. */
  readonly refusal: RegExp;
  readonly address: string;
  stop(): Promise<void>;
}

async function s3(name: string, refusal: RegExp, end: readonly string[]): Promise<Credentials> {
  const { url, admin, stop } = await startVersitygwWithAccounts();
  await admin("create-user", "--access", name, "--secret", "first-secret", "--role", "admin");
  await admin("create-user", "--access", "other", "--secret", "other-secret", "--role", "admin");
  await admin("create-bucket", "--bucket", BUCKET, "--owner", "other");
  const at = (address: string, access: string, secret: string): StoreAddress => ({
    url: `s3://${BUCKET}/store?endpoint=${address}&path_style=true&region=us-east-1`,
    env: { AWS_ACCESS_KEY_ID: access, AWS_SECRET_ACCESS_KEY: secret },
  });
  return {
    address: url,
    first: (address) => at(address, name, "first-secret"),
    end: () => admin(...end),
    renewed: (address) => at(address, "other", "other-secret"),
    refusal,
    stop,
  };
}

/** A signature that expires when the policy that it names does. */
async function azure(): Promise<Credentials> {
  const { url, account, key, createContainer, stop } = await startAzurite();
  await createContainer(BUCKET);
  const credential = new StorageSharedKeyCredential(account, key);
  const container = new BlobServiceClient(url, credential).getContainerClient(BUCKET);
  const permissions = ContainerSASPermissions.parse("rcwld");
  const expireAt = (expiresOn: Date) =>
    container.setAccessPolicy(undefined, [
      { id: "policy", accessPolicy: { startsOn: new Date(Date.now() - 2 * HOUR_MS), expiresOn, permissions: permissions.toString() } },
    ]);
  await expireAt(new Date(Date.now() + HOUR_MS));
  const at = (address: string, sas: string): StoreAddress => ({
    url: `az://${BUCKET}/store`,
    env: { AZURE_STORAGE_CONNECTION_STRING: `BlobEndpoint=${address}/${account};SharedAccessSignature=${sas};AccountName=${account}` },
  });
  const expiring = generateBlobSASQueryParameters({ containerName: BUCKET, identifier: "policy" }, credential);
  const other = { containerName: BUCKET, permissions, expiresOn: new Date(Date.now() + HOUR_MS) };
  return {
    address: new URL(url).origin,
    first: (address) => at(address, expiring.toString()),
    async end() {
      await expireAt(new Date(Date.now() - HOUR_MS));
    },
    renewed: (address) => at(address, generateBlobSASQueryParameters(other, credential).toString()),
    refusal: /the shared access signature in AZURE_STORAGE_CONNECTION_STRING has expired/,
    stop,
  };
}

const CASES: Readonly<Record<string, () => Promise<Credentials>>> = {
  "an access key that is deleted": () => s3("gone", /the access key isn't known .*AWS_ACCESS_KEY_ID/, ["delete-user", "--access", "gone"]),
  "a secret that is changed": () =>
    s3("changed", /the secret access key is wrong: check AWS_SECRET_ACCESS_KEY/, [
      ...["update-user", "--access", "changed", "--secret", "second-secret"],
    ]),
  "a shared access signature that expires": azure,
};

const isData = ({ method, path, headers }: SeenRequest) =>
  method === "PUT" && path.includes("/data/") && Number(headers["content-length"]) > DATA_OBJECT_BYTES / 2;

describe("credentials that end in the middle of an upload", function () {
  this.timeout(120_000);
  let folder: TempFolder;
  /** What is to be closed after a test, last opened first. */
  let closing: (() => Promise<void>)[] = [];
  before(() => {
    folder = tempFolder();
    makeTree(join(folder.path, "tree"), TREE);
  });
  after(() => folder[Symbol.dispose]());
  afterEach(async () => {
    for (const close of closing.reverse()) await close();
    closing = [];
  });

  for (const [what, start] of Object.entries(CASES)) {
    it(`${what}: it fails and says what to do, can't be seen, and goes on with new ones`, async () => {
      const credentials = await start();
      closing.push(credentials.stop);
      const proxy = await startHttpProxy(credentials.address);
      closing.push(proxy.stop);
      const open = async (address: StoreAddress) => {
        const server = await startImpatientServer(address);
        closing.push(server.stop);
        return server.client;
      };
      const localPath = join(folder.path, "tree");
      const first = await open(credentials.first(proxy.url));
      const { url, env } = credentials.renewed(credentials.address);
      const { artifacts } = await openArtifacts(url, { env });
      closing.push(artifacts.close);
      const uploadId = "an-upload-whose-credentials-end";
      async function persisted(): Promise<number> {
        const { files } = await artifacts.getUpload("main", uploadId);
        return files.flatMap(({ spans }) => spans).reduce((sum, { length }) => sum + length, 0);
      }

      // The third data object waits until one is stored and the credentials are no good any more.
      let objects = 0;
      let ended = false;
      proxy.onRequest = async (request) => {
        if (!isData(request) || ++objects !== 3) return undefined;
        await until("something is persisted", async () => (await persisted()) > 0);
        await credentials.end();
        ended = true;
        return undefined;
      };
      const failure = await first.upload({ localPath, artifactPath: "", run: "run", uploadId }).then(
        () => assert.fail("it went through"),
        (error: unknown) => error,
      );
      assert.ok(failure instanceof ArtifactsUploadError && ended);
      assert.match(failure.message, credentials.refusal);
      assert.match(failure.message, /^[^\n]+$/);
      assert.equal(failure.reason, "STORE_MISCONFIGURED");
      assert.deepEqual((await artifacts.listRuns("main")).runs, []);
      const before = await persisted();
      assert.ok(before > 0 && before < BYTES, `${before} bytes are persisted`);

      const begun = proxy.requests.length;
      const second = await open(credentials.renewed(proxy.url));
      const { commit } = await second.upload({ localPath, artifactPath: "", resume: failure.uploadId as string });
      assert.equal(commit, 1);
      const again = proxy.requests.slice(begun).filter(isData).length;
      assert.equal(again, (BYTES - before) / DATA_OBJECT_BYTES, "data objects that were whole are not sent again");
      const back = join(folder.path, what);
      await second.download({ run: "run", localPath: back });
      assert.deepEqual(compareTrees(readTree(localPath), readTree(back)), []);
      fs.rmSync(back, { recursive: true });
    });
  }
});
