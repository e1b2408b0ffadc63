/** The rule for names of projects, runs and tags. */

const NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;

/** What is wrong with a name, for a sentence after it; `undefined` if nothing. */
export function nameProblem(name: string): string | undefined {
  if (name === "") return "is empty";
  if (NAME.test(name)) return undefined;
  return "must be 1 to 128 letters, digits, `.`, `_` or `-`, and start with a letter, a digit or `_`";
}

const ID = /^[A-Za-z0-9_-]{16,64}$/;

/** Whether an upload id or request id is of the protocol's form. */
export function isId(id: string): boolean {
  return ID.test(id);
}
