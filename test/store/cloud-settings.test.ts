/** What of a store's URL and environment reaches the store: the requests themselves, as each cloud documents them. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { Driver, StoreErrorKind } from "../../src/store/driver.ts";
import { StoreError } from "../../src/store/driver.ts";
import { openAzure } from "../../src/store/drivers/azure.ts";
import { openGcs } from "../../src/store/drivers/gcs.ts";
import { openS3 } from "../../src/store/drivers/s3.ts";
import { tempFolder } from "../client/support.ts";
import { type HttpProxy, type SeenRequest, startHttpProxy } from "../servers/http-proxy.ts";
import { put, rejectsWith, testBytes } from "./conformance.ts";

const AWS = { AWS_ACCESS_KEY_ID: "id", AWS_SECRET_ACCESS_KEY: "secret" };
const AZURE = { AZURE_STORAGE_ACCOUNT: "account", AZURE_STORAGE_KEY: Buffer.alloc(64, 1).toString("base64") };
const openers = { s3: openS3, az: openAzure, gs: openGcs };

describe("a store's settings", () => {
  let proxy: HttpProxy;
  before(async () => {
    // Nothing is passed on: all puts are told that they succeeded.
    proxy = await startHttpProxy("http://127.0.0.1:9");
    proxy.onRequest = ({ path }) => ({ kind: "answer", status: path.startsWith("/upload") ? 200 : 201 });
  });
  after(() => proxy.stop());

  /** The request of a put to a store; `{endpoint}` stands for one that says yes to everything. */
  async function requestOf(url: string, env: NodeJS.ProcessEnv = {}, size = 10): Promise<SeenRequest> {
    const scheme = url.slice(0, 2) as keyof typeof openers;
    const driver: Driver = await openers[scheme](url.replace("{endpoint}", proxy.url), env);
    try {
      assert.equal(await put(driver, "log/1", testBytes(size)), true);
      return proxy.requests.at(-1) as SeenRequest;
    } finally {
      await driver.close();
    }
  }

  describe("of Amazon S3", () => {
    it("puts with a condition, a checksum, and nothing else that was not asked for", async () => {
      const { path, headers } = await requestOf("s3://box/team?endpoint={endpoint}", AWS);
      assert.equal(path, "/box/team/log/1");
      assert.equal(headers["if-none-match"], "*");
      assert.match(String(headers["x-amz-checksum-crc32c"]), /^[A-Za-z0-9+/]{6}==$/);
      const others = Object.keys(headers).filter((name) => /^x-amz-(server-side|storage|request-payer|sdk-checksum)/.test(name));
      assert.deepEqual(others, []);
    });

    it("names the storage class, the key, and who pays", async () => {
      const key = "arn:aws:kms:eu-west-1:1:key/k";
      const parameters = `storage_class=STANDARD_IA&sse_kms_key_id=${encodeURIComponent(key)}&requester_pays=true`;
      const { headers } = await requestOf(`s3://box?endpoint={endpoint}&${parameters}`, AWS);
      assert.equal(headers["x-amz-storage-class"], "STANDARD_IA");
      assert.equal(headers["x-amz-server-side-encryption"], "aws:kms");
      assert.equal(headers["x-amz-server-side-encryption-aws-kms-key-id"], key);
      assert.equal(headers["x-amz-request-payer"], "requester");
    });

    for (const size of [10, 300_000]) {
      it(`sends ${size} bytes by old headers alone where newer ones aren't known`, async () => {
        const { headers } = await requestOf("s3://box?endpoint={endpoint}&checksum=when_required", AWS, size);
        assert.ok(headers["content-md5"]);
        const newer = Object.keys(headers).filter((name) => /^x-amz-(checksum|sdk-checksum|trailer|decoded)/.test(name));
        assert.deepEqual(newer, []);
        assert.equal(headers["transfer-encoding"], undefined);
      });
    }

    it("finds the endpoint and the region in the environment, and the URL's come first", async () => {
      const env = { ...AWS, AWS_ENDPOINT_URL_S3: proxy.url, AWS_REGION: "eu-north-1" };
      assert.match(String((await requestOf("s3://box", env)).headers.authorization), /\/eu-north-1\/s3\/aws4_request/);
      assert.match(String((await requestOf("s3://box?region=sa-east-1", env)).headers.authorization), /\/sa-east-1\/s3\/aws4_request/);
      const other = { ...env, AWS_ENDPOINT_URL_S3: "http://127.0.0.1:9" };
      assert.equal((await requestOf("s3://box?endpoint={endpoint}", other)).path, "/box/log/1");
    });
  });

  describe("of Azure Blob Storage", () => {
    it("puts with a condition and a checksum", async () => {
      const { path, headers } = await requestOf("az://box/team?endpoint={endpoint}", AZURE);
      assert.equal(path, "/account/box/team/log/1");
      assert.equal(headers["if-none-match"], "*");
      assert.match(String(headers["content-md5"]), /==$/);
      assert.equal(headers["x-ms-access-tier"], undefined);
    });

    it("names the tier and the encryption scope", async () => {
      const { headers } = await requestOf("az://box?endpoint={endpoint}&access_tier=Cool&encryption_scope=ours", AZURE);
      assert.equal(headers["x-ms-access-tier"], "Cool");
      assert.equal(headers["x-ms-encryption-scope"], "ours");
    });

    it("the URL's account comes before the environment's", async () => {
      const { path } = await requestOf("az://box?endpoint={endpoint}&account=other", AZURE);
      assert.equal(path, "/other/box/log/1");
    });
  });

  describe("of Google Cloud Storage", () => {
    it("puts with a condition, without credentials where no TLS is", async () => {
      const { path, query, headers } = await requestOf("gs://box/team?endpoint={endpoint}");
      assert.equal(path, "/upload/storage/v1/b/box/o");
      assert.equal(query.get("ifGenerationMatch"), "0");
      assert.equal(headers.authorization, undefined);
    });

    it("names the key and who pays", async () => {
      const { query } = await requestOf("gs://box?endpoint={endpoint}&user_project=payer&kms_key_name=projects/p/k");
      assert.deepEqual([query.get("userProject"), query.get("kmsKeyName")], ["payer", "projects/p/k"]);
    });

    for (const form of ["{endpoint}", "{host}", "{endpoint}/storage/v1"]) {
      it(`finds an emulator in STORAGE_EMULATOR_HOST as ${form}`, async () => {
        const value = form.replace("{endpoint}", proxy.url).replace("{host}", new URL(proxy.url).host);
        assert.equal((await requestOf("gs://box", { STORAGE_EMULATOR_HOST: value })).path, "/upload/storage/v1/b/box/o");
      });
    }
  });

  describe("of the network", () => {
    const through = (env: NodeJS.ProcessEnv = {}) => ({ ...env, HTTP_PROXY: proxy.url, HTTPS_PROXY: "", NO_PROXY: "" });

    it("a proxy is asked for what Amazon S3's endpoint has, the bucket in the host's name unless it is told not to", async () => {
      const { path } = await requestOf("s3://box?endpoint=http://store.test", through(AWS));
      assert.equal(path, "http://box.store.test/log/1");
      const inPath = await requestOf("s3://box?endpoint=http://store.test&path_style=true", through(AWS));
      assert.equal(inPath.path, "http://store.test/box/log/1");
    });

    it("a proxy is asked for what Google's endpoint has", async () => {
      proxy.onRequest = () => ({ kind: "answer", status: 200 });
      const { path } = await requestOf("gs://box?endpoint=http://store.test", through());
      assert.equal(path, "http://store.test/upload/storage/v1/b/box/o");
    });

    it("a proxy is asked for what Azure's endpoint has", async () => {
      proxy.onRequest = () => ({ kind: "answer", status: 201 });
      // Its SDK looks at the process's environment.
      const before = process.env["HTTP_PROXY"];
      process.env["HTTP_PROXY"] = proxy.url;
      try {
        const { path } = await requestOf("az://box?endpoint=http://store.test", AZURE);
        assert.equal(path, "http://store.test/box/log/1");
      } finally {
        if (before === undefined) delete process.env["HTTP_PROXY"];
        else process.env["HTTP_PROXY"] = before;
      }
    });

    it("a private certificate authority is trusted where AWS_CA_BUNDLE names it, and nowhere else", async () => {
      using folder = tempFolder();
      const [key, cert] = [join(folder.path, "key.pem"), join(folder.path, "cert.pem")];
      const args = `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=store -addext subjectAltName=IP:127.0.0.1`;
      execFileSync("openssl", [...args.split(" "), "-keyout", key, "-out", cert], { stdio: "ignore" });
      const server = https.createServer({ key: readFileSync(key), cert: readFileSync(cert) }, (request, response) =>
        request.resume().on("end", () => response.writeHead(200).end()),
      );
      await once(server.listen(0, "127.0.0.1"), "listening");
      const endpoint = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
      try {
        const trusting = await openS3(`s3://box?endpoint=${endpoint}`, { ...AWS, AWS_CA_BUNDLE: cert });
        assert.equal(await put(trusting, "log/1", testBytes(10)), true);
        await trusting.close();
        for (const driver of [
          await openS3(`s3://box?endpoint=${endpoint}`, AWS),
          await openAzure(`az://box?endpoint=${endpoint}`, AZURE),
        ]) {
          const error = await rejectsWith("misconfigured", put(driver, "log/1", testBytes(10)));
          assert.match(error.message, /no secure connection \(DEPTH_ZERO_SELF_SIGNED_CERT\).*NODE_EXTRA_CA_CERTS/);
          await driver.close();
        }
      } finally {
        server.closeAllConnections();
        server.close();
      }
    });
  });

  const REFUSED: readonly [string, NodeJS.ProcessEnv, RegExp][] = [
    ["s3://box?regoin=x", AWS, /parameter regoin, which isn't one of region, endpoint/],
    ["s3://box?region=a&region=b", AWS, /parameter region twice/],
    ["s3://box?region=", AWS, /parameter region without a value/],
    ["s3://user:secret@box", AWS, /user or password/],
    ["s3://box?endpoint=ftp://x", AWS, /parameter endpoint isn't an http/],
    ["s3://box?path_style=yes", AWS, /path_style is true or false/],
    ["s3://box?checksum=md5", AWS, /checksum is crc32c or when_required/],
    ["s3://box?sse=rot13", AWS, /sse is one of AES256/],
    ["s3:///prefix", AWS, /names no bucket/],
    ["az://box", {}, /no storage account is named/],
    ["az://box?account=a%2Fb", {}, /only letters and digits/],
    [
      "az://box?account=b",
      { AZURE_STORAGE_CONNECTION_STRING: "AccountName=a;AccountKey=eA==" },
      /AZURE_STORAGE_CONNECTION_STRING is for a/,
    ],
    ["az://box", { AZURE_STORAGE_CONNECTION_STRING: "nonsense" }, /AZURE_STORAGE_CONNECTION_STRING isn't of the form/],
    ["gs://box#x", {}, /has a #/],
    ["gs://box:80", {}, /has a port/],
  ];
  for (const [url, env, says] of REFUSED) {
    it(`refuse ${url}`, async () => {
      const open = openers[url.slice(0, 2) as keyof typeof openers](url, env);
      await assert.rejects(open, (error: unknown) => {
        assert.ok(error instanceof StoreError);
        assert.equal(error.kind, "misconfigured" satisfies StoreErrorKind);
        assert.match(error.message, says);
        assert.ok(!/secret|eA==/.test(error.message), "it tells a secret");
        return true;
      });
    });
  }
});
