/** Who may do what. */
import type { IncomingHttpHeaders } from "node:http2";
import { ArtifactsService } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { ArtifactsFailure } from "../artifacts/errors.ts";
import { findToken, includesScope, type Principal, type Scope, type Token } from "./tokens.ts";

/** What each call needs. */
export const NEEDED_SCOPES = {
  upload: "write",
  getUpload: "read",
  listUploads: "read",
  abortUpload: "write",
  download: "read",
  listEntries: "read",
  getRun: "read",
  listRuns: "read",
  deleteRun: "write",
  createTag: "write",
  getTag: "read",
  listTags: "read",
  deleteTag: "write",
  copy: "write",
  verify: "read",
  collectGarbage: "admin",
  getServerInfo: "read",
} satisfies Record<keyof typeof ArtifactsService.method, Scope>;

const BY_PATH: ReadonlyMap<string, Scope> = new Map(
  ArtifactsService.methods.map((method) => [
    `/${ArtifactsService.typeName}/${method.name}`,
    NEEDED_SCOPES[method.localName as keyof typeof NEEDED_SCOPES],
  ]),
);

/** What a request needs by its path. Health, reflection, metrics and whatever doesn't exist need any token. */
function neededScope(path: string): Scope {
  return BY_PATH.get(path) ?? "read";
}

/** Somebody who could open the Unix socket of a server without tokens: its owner. */
const OWNER: Principal = { name: "socket", scope: "admin" };

/** Who sends a request, by its headers alone. Throws ArtifactsFailure when that is nobody who may. */
export function authorize(tokens: readonly Token[], path: string, headers: IncomingHttpHeaders): Principal {
  const principal = tokens.length === 0 ? OWNER : authenticate(tokens, headers.authorization);
  const scope = neededScope(path);
  if (!includesScope(principal.scope, scope)) {
    const message = `the token allows no more than ${principal.scope}; this needs ${scope}`;
    throw new ArtifactsFailure("ACCESS_DENIED", message, { scope, project: principal.project ?? "" });
  }
  return principal;
}

function authenticate(tokens: readonly Token[], header: string | undefined): Principal {
  if (header === undefined) throw new ArtifactsFailure("TOKEN_MISSING", "a token is needed: set DSTACK_ARTIFACTS_TOKEN");
  const token = /^bearer +(\S+) *$/i.exec(header)?.[1];
  const found = token === undefined ? undefined : findToken(tokens, token);
  if (found === undefined) throw new ArtifactsFailure("TOKEN_INVALID", "the server doesn't know this token: check DSTACK_ARTIFACTS_TOKEN");
  return found;
}

/** The project that a request is for. Throws ArtifactsFailure when the principal may not see it. */
export function projectFor(principal: Principal, asked: string, own: string): string {
  const project = asked === "" ? own : asked;
  if (principal.project !== undefined && principal.project !== project) {
    const message = `the token is for project ${principal.project} alone`;
    throw new ArtifactsFailure("ACCESS_DENIED", message, { scope: principal.scope, project: principal.project });
  }
  return project;
}

/** For what concerns all projects. */
export function needAllProjects(principal: Principal): void {
  if (principal.project === undefined) return;
  const message = `this concerns all projects, and the token is for project ${principal.project} alone`;
  throw new ArtifactsFailure("ACCESS_DENIED", message, { scope: principal.scope, project: principal.project });
}
