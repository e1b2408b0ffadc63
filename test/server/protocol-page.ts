/** The tables of docs/protocol.md, out of the protocol's own files: `node test/server/protocol-page.ts` writes them into the page. */
import { readFile, writeFile } from "node:fs/promises";
import { ArtifactsService } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { NEEDED_SCOPES } from "../../src/server/access.ts";

export const PAGE = new URL("../../docs/protocol.md", import.meta.url);
const PROTO = new URL("../../proto/dstack/artifacts/v1/", import.meta.url);

/** The page with its tables as they must be. */
export async function pageWithTables(page: string): Promise<string> {
  return replaceTable(replaceTable(page, "calls", await callsTable()), "reasons", await reasonsTable());
}

async function callsTable(): Promise<string> {
  const proto = await readFile(new URL("artifacts.proto", PROTO), "utf8");
  const rows = ArtifactsService.methods.map((method) => {
    const { name, localName, methodKind } = method;
    const comment = new RegExp(`((?: {2}//.*\\n)+) {2}rpc ${name}\\(`).exec(proto)?.[1] ?? "";
    const text = comment.replace(/^ *\/\/ ?/gm, "");
    const summary = /^[^\n]+(?:\n[^\n]+)*/.exec(text)?.[0].replaceAll("\n", " ") ?? "";
    const kind = { unary: "", client_streaming: "client streams", server_streaming: "server streams", bidi_streaming: "both stream" }[
      methodKind
    ];
    return `| \`${name}\` | ${kind} | ${NEEDED_SCOPES[localName as keyof typeof NEEDED_SCOPES]} | ${summary} |`;
  });
  return ["| call | | scope | what it does |", "| --- | --- | --- | --- |", ...rows].join("\n");
}

async function reasonsTable(): Promise<string> {
  const proto = await readFile(new URL("errors.proto", PROTO), "utf8");
  const rows = [...proto.matchAll(/((?: {2}\/\/.*\n)+) {2}ERROR_REASON_(\w+) = (\d+);/g)]
    .filter(([, , , number]) => number !== "0")
    .map(([, comment = "", reason]) => {
      const text = comment
        .replace(/^ *\/\/ ?/gm, "")
        .replaceAll("\n", " ")
        .trim();
      const code = /([A-Z]+(?:_[A-Z]+)*)(?=[^A-Z]*$)/.exec(text.replace(", with RetryInfo", ""))?.[1] ?? "";
      const metadata = /Metadata: ([^.]*)\./.exec(text)?.[1] ?? "";
      const meaning = text.replace(/ ?Metadata: [^.]*\./, "").replace(new RegExp(` ?${code}(, with RetryInfo)?\\.$`), "");
      return `| \`${reason}\` | ${code} | ${metadata} | ${/RetryInfo/.test(text) ? "yes" : ""} | ${meaning.trim()} |`;
    });
  return ["| reason | status | metadata | try again | meaning |", "| --- | --- | --- | --- | --- |", ...rows].join("\n");
}

function replaceTable(page: string, name: string, table: string): string {
  const [begin, end] = [`<!-- ${name}: made from the protocol's files -->\n`, "\n<!-- end -->"];
  const from = page.indexOf(begin);
  const to = page.indexOf(end, from);
  if (from < 0 || to < 0) throw new Error(`the page has no place for the table of ${name}`);
  return page.slice(0, from + begin.length) + table + page.slice(to);
}

if (import.meta.main) await writeFile(PAGE, await pageWithTables(await readFile(PAGE, "utf8")));
