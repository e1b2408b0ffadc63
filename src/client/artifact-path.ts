/** Where in a run an upload goes, by the rules that every language's client follows (`test/vectors/upload-defaults.json`). */
import { homedir } from "node:os";
import { isAbsolute, join, normalize } from "node:path";
import { pathProblem, trimPath } from "../lib/paths.ts";
import { ArtifactsUploadError } from "./errors.ts";

/** A local path with `~` expanded. */
export function expandHome(path: string): string {
  if (path === "~") return homedir();
  return path.startsWith("~/") ? join(homedir(), path.slice(2)) : path;
}

/**
 * The artifact path of an upload; `""` is the root. `given` is what the caller said, if anything; else it comes from the
 * local path, lexically: absolute loses its leading `/`, relative must stay inside the working directory.
 */
export function artifactPathOf(localPath: string, given: string | undefined, isFile: boolean): string {
  const path = given === undefined ? defaultPath(localPath) : trimPath(given);
  if (path === "" && !isFile) return path;
  const problem = pathProblem(path);
  if (problem === undefined) return path;
  throw new ArtifactsUploadError(`artifact path ${JSON.stringify(given ?? path)} ${problem}`);
}

function defaultPath(localPath: string): string {
  const clean = normalize(localPath).replace(/\/+$/, "");
  if (isAbsolute(localPath)) return clean.replace(/^\/+/, "");
  if (clean === ".." || clean.startsWith("../")) throw outside(localPath);
  return clean === "." ? "" : clean;
}

function outside(localPath: string): ArtifactsUploadError {
  return new ArtifactsUploadError(`${localPath} lies outside the working directory: give artifact_path to say where it goes in the run`);
}
