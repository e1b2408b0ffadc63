/** The servers' programs that scripts/install-test-servers.sh puts below .tools, and the look for them before any test runs. */
import fs from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const TOOLS = fileURLToPath(new URL("../../.tools/", import.meta.url));

const PROGRAMS = {
  versitygw: "bin/versitygw",
  localstack: "localstack/bin/python",
  azurite: "azurite/node_modules/.bin/azurite-blob",
  "fake-gcs-server": "bin/fake-gcs-server",
  toxiproxy: "bin/toxiproxy-server",
} as const;

export type ServerName = keyof typeof PROGRAMS;

/** The path of a program below .tools; an error that says how to install it, if it isn't there. */
export function toolPath(program: string): string {
  const path = join(TOOLS, program);
  if (!fs.existsSync(path)) throw new Error(`${program} is not installed: run scripts/install-test-servers.sh`);
  return path;
}

export const pathOf = (server: ServerName): string => toolPath(PROGRAMS[server]);

/** Mocha calls it once, before all files: https://mochajs.org/#global-setup-fixtures */
export function mochaGlobalSetup(): void {
  const missing = Object.entries(PROGRAMS).flatMap(([name, program]) => (fs.existsSync(join(TOOLS, program)) ? [] : [name]));
  if (missing.length > 0)
    throw new Error(`servers that tests need aren't installed: ${missing.join(", ")}; run scripts/install-test-servers.sh`);
}
