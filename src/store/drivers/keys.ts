/** What a key must be for every store to hold it. */
import { StoreError } from "../driver.ts";

/** Amazon S3's and Google's limit, in UTF-8 bytes: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html */
const MAX_KEY_BYTES = 1024;
/** NAME_MAX of Linux's file systems, in bytes. */
const MAX_SEGMENT_BYTES = 255;

/** What is wrong with a key, for a sentence after it; `undefined` if nothing. */
function keyProblem(key: string): string | undefined {
  if (!key.isWellFormed()) return "isn't well-formed Unicode";
  if (Buffer.byteLength(key) > MAX_KEY_BYTES) return `is longer than ${MAX_KEY_BYTES} bytes`;
  for (const segment of key.split("/")) {
    if (segment === "") return "has an empty segment";
    if (segment === "." || segment === "..") return "has a segment `.` or `..`";
    // biome-ignore lint/suspicious/noControlCharactersInRegex: it is what is looked for
    if (/[\x00-\x1f]/.test(segment)) return "has a control character";
    if (Buffer.byteLength(segment) > MAX_SEGMENT_BYTES) return `has a segment over ${MAX_SEGMENT_BYTES} bytes`;
  }
  return undefined;
}

/** Throws a StoreError of kind `failed` unless every store can hold `key`. Keys are made by us, so a bad one is our mistake. */
export function checkKey(store: string, key: string): void {
  const problem = keyProblem(key);
  if (problem !== undefined) throw new StoreError("failed", `${store}: the key ${JSON.stringify(key)} ${problem}`);
}
