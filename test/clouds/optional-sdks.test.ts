/** The package, installed elsewhere, brings no cloud's SDK, works without, and says which one a store needs. */
import { strict as assert } from "node:assert";
import fs from "node:fs";
import { join } from "node:path";
import { fails, installed, serve } from "../cli/installed.ts";
import { tempFolder } from "../client/support.ts";

const KEY = Buffer.alloc(64, 1).toString("base64");

const STORES: readonly { url: string; store: string; package: string; env?: Record<string, string> }[] = [
  { url: "s3://bucket/prefix?region=eu-west-1", store: "Amazon S3", package: "@aws-sdk/client-s3" },
  { url: "az://container?account=a", store: "Azure Blob Storage", package: "@azure/storage-blob" },
  { url: "az://container?account=a", store: "Azure Blob Storage", package: "@azure/storage-blob", env: { AZURE_STORAGE_KEY: KEY } },
  { url: "gs://bucket", store: "Google Cloud Storage", package: "@google-cloud/storage" },
];

describe("the installed package", function () {
  this.timeout(300_000);

  it("holds no SDK of a cloud", async () => {
    const modules = join(await installed(), "node_modules");
    for (const scope of ["@aws-sdk", "@azure", "@google-cloud"]) assert.ok(!fs.existsSync(join(modules, scope)), `${scope} is there`);
  });

  it("serves a folder", async () => {
    using folder = tempFolder();
    await using server = await serve(["--store", join(folder.path, "store"), "--listen", `unix://${folder.path}/s.sock`, "--run", "r"]);
    assert.equal(server.run, "r");
  });

  for (const { url, store, package: needed, env = {} } of STORES) {
    it(`names ${needed} for ${url}${"AZURE_STORAGE_KEY" in env ? ", with a key" : ""}`, async () => {
      using folder = tempFolder();
      const line = await fails(["serve", "--store", url, "--listen", `unix://${folder.path}/s.sock`], { env });
      assert.equal(line, `the ${store} store needs ${needed}: npm install ${needed}`);
    });
  }
});
