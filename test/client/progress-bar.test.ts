import { strict as assert } from "node:assert";
import { fitting } from "../../src/client/progress-bar.ts";

const LINE = {
  verb: "downloading",
  share: 0.5,
  bytes: "449.6 MiB of 899.2 MiB",
  files: "5203/20000 files",
  rate: "102.4 MiB/s",
  left: "1 min 20 s left",
};

describe("a line of progress", () => {
  it("tells all that a terminal has room for, the bar shorter and then less of it the narrower that is", () => {
    assert.equal(
      fitting(200, LINE),
      "downloading  [###############---------------] 50%  449.6 MiB of 899.2 MiB  5203/20000 files  102.4 MiB/s  1 min 20 s left",
    );
    assert.equal(
      fitting(110, LINE),
      "downloading  [#####-----] 50%  449.6 MiB of 899.2 MiB  5203/20000 files  102.4 MiB/s  1 min 20 s left",
    );
    assert.equal(fitting(90, LINE), "downloading  [#####-----] 50%  449.6 MiB of 899.2 MiB  102.4 MiB/s  1 min 20 s left");
    assert.equal(fitting(80, LINE), "downloading  50%  449.6 MiB of 899.2 MiB  102.4 MiB/s  1 min 20 s left");
    assert.equal(fitting(40, LINE), "50%  1 min 20 s left");
    assert.equal(fitting(8, LINE), "50%");
    assert.equal(fitting(2, LINE), "");
  });

  it("never is as wide as the terminal, at any width", () => {
    for (let columns = 1; columns <= 200; columns++) assert.ok(fitting(columns, LINE).length < columns);
  });

  it("does without a bar where nobody knows how much there will be", () => {
    const line = { ...LINE, share: undefined, bytes: "449.6 MiB", left: undefined };
    assert.equal(fitting(80, line), "downloading  449.6 MiB  5203/20000 files  102.4 MiB/s");
    assert.equal(fitting(12, line), "449.6 MiB");
  });
});
