/** What is the same in every language: `test/vectors/README.md` says what each file holds. */
import { strict as assert } from "node:assert";
import fs from "node:fs";
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/ts/dstack/artifacts/v1/errors_pb.ts";
import { checkLinkTarget } from "../../src/artifacts/check.ts";
import { ArtifactsFailure } from "../../src/artifacts/errors.ts";
import { artifactPathOf } from "../../src/client/artifact-path.ts";
import {
  ArtifactsDownloadError,
  ArtifactsUploadError,
  type Doing,
  DstackError,
  isTemporary,
  RunNotFoundError,
  TagNotFoundError,
  toDstackError,
} from "../../src/client/errors.ts";
import { partialName } from "../../src/client/partial-file.ts";
import { nameProblem } from "../../src/lib/names.ts";
import { comparePaths, pathProblem, trimPath } from "../../src/lib/paths.ts";
import { failureToConnect } from "../../src/server/errors.ts";
import { failureOf, type ReasonName } from "../../src/wire/status.ts";
import { type Case, runCase } from "./cases.ts";
import { serve, type TempFolder, type TestServer, tempFolder } from "./support.ts";

function load(name: string) {
  return JSON.parse(fs.readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), "utf8"));
}

const short = (text: string) => JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);

describe("rules that all languages share", () => {
  const names = load("names");
  for (const name of names.valid) it(`${short(name)} is a name`, () => assert.equal(nameProblem(name), undefined));
  for (const { name, problem } of names.invalid) it(`${short(name)} is no name`, () => assert.equal(nameProblem(name), problem));

  const paths = load("paths");
  for (const { path, normalised } of paths.valid) {
    it(`${short(path)} is a path`, () => {
      assert.equal(trimPath(path), normalised);
      assert.equal(pathProblem(normalised), undefined);
    });
  }
  for (const { path, problem } of paths.invalid)
    it(`${short(path)} is no path of a file`, () => assert.equal(pathProblem(trimPath(path)), problem));
  it("half a surrogate pair is no path", () => assert.equal(pathProblem("a\ud800"), "is not valid Unicode"));
  it("paths have one order", () => assert.deepEqual(paths.order.toReversed().sort(comparePaths), paths.order));

  for (const { path, target, ok } of load("link-targets").links) {
    it(`a link at ${short(path)} to ${short(target)} is ${ok ? "taken" : "refused"}`, () => {
      if (ok) checkLinkTarget(path, target);
      else assert.throws(() => checkLinkTarget(path, target), ArtifactsFailure);
    });
  }

  for (const { local_path, artifact_path, is_file, path, error } of load("upload-defaults").cases) {
    const given = artifact_path === null ? "" : ` as ${short(artifact_path)}`;
    it(`the ${is_file ? "file" : "folder"} ${short(local_path)}${given} ${error ? "is refused" : `goes to ${short(path)}`}`, () => {
      const act = () => artifactPathOf(local_path, artifact_path ?? undefined, is_file);
      if (error === undefined) assert.equal(act(), path);
      else assert.throws(act, (thrown: Error) => thrown instanceof ArtifactsUploadError && thrown.message.includes(error));
    });
  }

  for (const { name, path, size, crc32c } of load("partial-names").files)
    it(`${short(path)} of ${size} bytes is written to ${name}`, () =>
      assert.equal(partialName({ path, size, crc32c: Number.parseInt(crc32c, 16) }), name));
});

describe("errors that all languages share", () => {
  const { classes, reasons, without_reason } = load("errors");
  const codeNamed = (name: string) =>
    Code[name.toLowerCase().replace(/(?:^|_)(.)/g, (_, letter: string) => letter.toUpperCase()) as keyof typeof Code];
  const nameOf = (error: ConnectError, doing: Doing) => (toDstackError(error, doing, "unix:///s") as Error).name;

  const all = [DstackError, ArtifactsUploadError, ArtifactsDownloadError, RunNotFoundError, TagNotFoundError];
  it("classes have one hierarchy", () => {
    const hierarchy = all.map((each) => ({ name: each.name, parent: each === DstackError ? null : Object.getPrototypeOf(each).name }));
    assert.deepEqual(hierarchy, classes);
  });
  it("each reason has its line", () => {
    const names = Object.keys(ErrorReason).filter((key) => Number.isNaN(Number(key)) && key !== "UNSPECIFIED");
    assert.deepEqual(reasons.map(({ reason }: { reason: string }) => reason).sort(), names.sort());
  });
  for (const { reason, code, retryable, retry_after_ms, ...names } of reasons) {
    it(reason, () => {
      const error = failureToConnect(new ArtifactsFailure(reason as ReasonName, "what happened", {}));
      assert.equal(error.code, codeNamed(code));
      assert.equal(failureOf(error).retryAfterMs ?? null, retry_after_ms);
      assert.equal(isTemporary(error), retryable);
      for (const doing of ["upload", "download", "other"] as const) assert.equal(nameOf(error, doing), names[doing]);
    });
  }
  for (const { code, retryable, ...names } of without_reason) {
    it(`${code} without a reason`, () => {
      const error = new ConnectError("what happened", codeNamed(code));
      assert.equal(isTemporary(error), retryable);
      for (const doing of ["upload", "download", "other"] as const) assert.equal(nameOf(error, doing), names[doing]);
    });
  }
});

for (const kind of ["memory", "file"]) {
  describe(`cases that all languages share, on a ${kind} store`, () => {
    let folder: TempFolder;
    let server: TestServer;
    before(async () => {
      folder = tempFolder();
      server = await serve(kind === "memory" ? "memory:" : `file://${folder.path}/store`, folder.path);
    });
    after(async () => {
      await server.close();
      folder[Symbol.dispose]();
    });
    for (const [n, each] of (load("cases").cases as Case[]).entries()) it(each.name, () => runCase(each, server.url, `case-${n}`));
  });
}
