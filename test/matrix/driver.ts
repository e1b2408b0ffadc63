/**
 * The client as a command, for the test that compares languages: `upload LOCAL ARTIFACT_PATH TAG [--symlinks preserve]` or `download TAG
 * LOCAL`. The environment says which server. Prints the result as JSON.
 */
import { parseArgs } from "node:util";
import { artifacts } from "../../src/index.ts";

const { positionals, values } = parseArgs({ allowPositionals: true, options: { symlinks: { type: "string" } } });
const [command, first = "", second = "", third] = positionals;
const symlinks = values.symlinks as "follow" | "preserve" | undefined;
const result =
  command === "upload"
    ? await artifacts.upload({ localPath: first, artifactPath: second, tag: third, symlinks })
    : await artifacts.download({ tag: first, localPath: second });
process.stdout.write(JSON.stringify(result));
