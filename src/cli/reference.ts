/** References on the command line: `RUN`, `RUN@COMMIT` or `:TAG`. Whether the names are good is for the client to say. */
import { DstackError } from "../client/errors.ts";

/** Exactly one of `run` and `tag`. */
export interface Reference {
  readonly run?: string;
  readonly tag?: string;
  readonly commit?: number;
}

export function parseReference(text: string): Reference {
  return text.startsWith(":") ? { tag: text.slice(1) } : parseRunAtCommit(text);
}

/** `RUN`, or `RUN@COMMIT`: names hold no `@`. */
export function parseRunAtCommit(text: string): { readonly run: string; readonly commit?: number } {
  const at = text.indexOf("@");
  if (at < 0) return { run: text };
  const commit = text.slice(at + 1);
  const number = Number(commit);
  if (!/^[1-9][0-9]*$/.test(commit) || !Number.isSafeInteger(number))
    throw new DstackError(`${JSON.stringify(text)}: ${JSON.stringify(commit)} is no commit: write RUN@N, with N from 1`);
  return { run: text.slice(0, at), commit: number };
}
