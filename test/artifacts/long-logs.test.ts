import assert from "node:assert/strict";
import type { Artifacts } from "../../src/artifacts/types.ts";
import { PROJECT, servers, show, upload } from "../support/domain.ts";
import type { InterceptedDriver } from "../support/intercepted-driver.ts";

const COMMITS = 260;

describe("a run of many commits", () => {
  let here: Artifacts & { readonly driver: InterceptedDriver };
  let elsewhere: Artifacts;
  before(async () => {
    const { open } = servers();
    here = await open();
    elsewhere = await open();
    for (let i = 1; i <= COMMITS; i++) await upload(here, { run: "long" }, { [`file-${i}`]: `${i}` });
  });
  after(async () => {
    await here.close();
    await elsewhere.close();
  });

  const listings = () => here.driver.calls.filter(({ operation, key }) => operation === "list" && key.includes("/log/")).length;

  it("is added to and read without listing its log", async () => {
    const before = listings();
    const { commit } = await upload(here, { run: "long" }, { "file-0": "0" });
    assert.equal(commit, COMMITS + 1);
    assert.equal((await show(here, { run: "long" }))["file-0"], "0");
    assert.equal(listings(), before);
  });

  // Fewer, as many and more than are looked for one by one.
  for (const others of [1, 3, 4, 5, 9]) {
    it(`shows what ${others} commits of another server brought`, async () => {
      for (let i = 1; i <= others; i++) await upload(elsewhere, { run: "long" }, { shared: `${others}.${i}` });
      assert.equal((await show(here, { run: "long" }))["shared"], `${others}.${others}`);
      const { commit } = await upload(here, { run: "long" }, { mine: `${others}` });
      assert.equal((await here.getRun(PROJECT, "long")).newestCommit, commit);
    });
  }
});
