/** A client in a process of its own, which tells how it ended. The environment says where the server is. */
import { artifacts } from "../../src/index.ts";

const [what, options] = process.argv.slice(2);
const given = JSON.parse(options ?? "{}");
try {
  const result = what === "upload" ? await artifacts.upload(given) : await artifacts.download(given);
  process.stdout.write(JSON.stringify({ result }));
} catch (error) {
  const { name, message } = error as Error;
  process.stdout.write(JSON.stringify({ error: { name, message } }));
}
// Nothing is closed: a connection without calls must not keep the process alive.
