/** The flags of the runtime that the package's bin runs with, as its first line says. */
import { readFileSync } from "node:fs";

const [firstLine = ""] = readFileSync(new URL("../../src/main.ts", import.meta.url), "utf8").split("\n", 1);

export const NODE_FLAGS: readonly string[] = firstLine.split(" ").filter((word) => word.startsWith("--"));
