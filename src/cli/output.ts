/** What a command says: results on stdout, as text or as one JSON value; everything else on stderr. */
import { once } from "node:events";
import { printable } from "./format.ts";

export interface Output {
  /** The command's result: `json` with `--json`, else the text, of which `undefined` is none at all. */
  result(json: unknown, text: string | undefined): void;
  /** A line for a person on stderr; none with `--quiet`. */
  note(text: string): void;
  warn(text: string): void;
  error(text: string): void;
  /** Raw bytes of a result; resolves when more are welcome. */
  write(bytes: Uint8Array | string): Promise<void>;
}

export function createOutput({ json = false, quiet = false }: { json?: boolean | undefined; quiet?: boolean | undefined }): Output {
  return {
    result(value, text) {
      if (json) process.stdout.write(`${JSON.stringify(value)}\n`);
      else if (text !== undefined) process.stdout.write(`${text}\n`);
    },
    note(text) {
      if (!quiet) process.stderr.write(`${text}\n`);
    },
    warn: (text) => void process.stderr.write(`warning: ${printable(text)}\n`),
    error: writeError,
    async write(bytes) {
      if (!process.stdout.write(bytes)) await once(process.stdout, "drain");
    },
  };
}

/** The one line that tells of a failure. */
export function writeError(text: string): void {
  process.stderr.write(`error: ${printable(text.replace(/\s*\n\s*/g, " "))}\n`);
}
