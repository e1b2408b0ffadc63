/** What the package's bin runs with, as its first line says. */
import { readFileSync } from "node:fs";

const [firstLine = ""] = readFileSync(new URL("../../src/main.ts", import.meta.url), "utf8").split("\n", 1);
const words = firstLine.split(" ");

/** Flags of the runtime. */
export const NODE_FLAGS: readonly string[] = words.filter((word) => word.startsWith("--"));
/** Variables of the environment. */
export const BIN_ENV: Readonly<Record<string, string>> = Object.fromEntries(
  words.filter((word) => /^[A-Z_]+=/.test(word)).map((word) => word.split("=")),
);
