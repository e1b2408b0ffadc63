/** `contract.md` names a test for each promise; here every one of them must exist. */
import { strict as assert } from "node:assert";
import fs from "node:fs";

const ROW = /^\| (.+) \| `([^`]+)`(?:: (.+))? \|$/;

describe("the table of promises", () => {
  const rows = fs
    .readFileSync(new URL("contract.md", import.meta.url), "utf8")
    .split("\n")
    .filter((line) => line.startsWith("| ") && !/^\| (promise|---) /.test(line));

  it("has a test for each of them", () => {
    for (const row of rows) {
      const [, promise, file, title = ""] = ROW.exec(row) ?? assert.fail(`not of the form: ${row}`);
      const text = fs.readFileSync(new URL(file ?? "", import.meta.url), "utf8");
      // In JSON a title has its quotes escaped.
      assert.ok(text.includes(title) || text.includes(JSON.stringify(title).slice(1, -1)), `${promise}: ${file} has no test "${title}"`);
    }
  });
});
