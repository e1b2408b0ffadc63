/**
 * `node bench/publish.ts [RESULTS.json...]`: puts the figures of these runs, or of the last one, into docs/benchmarks.md and its chart. Where two
 * of them have the same case, the later one counts.
 */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { chart } from "./chart.ts";
import { markdown, type Results } from "./report.ts";

const RESULTS = new URL("./results/", import.meta.url);
const PAGE = new URL("../docs/benchmarks.md", import.meta.url);
const CHART = new URL("../docs/benchmarks.svg", import.meta.url);
const BEGIN = "<!-- figures: made by bench/publish.ts -->";
const END = "<!-- end of figures -->";

let files = process.argv.slice(2);
if (files.length === 0) {
  const newest = (await readdir(RESULTS)).sort().at(-1);
  if (newest === undefined) throw new Error("there are no results yet: run `npm run bench`");
  files = [fileURLToPath(new URL(newest, RESULTS))];
}
let merged: Results | undefined;
for (const file of files) {
  const { machine, figures } = JSON.parse(await readFile(file, "utf8")) as Results;
  const cases = new Set(figures.map((figure) => figure.case));
  merged = { machine, figures: [...(merged?.figures ?? []).filter((figure) => !cases.has(figure.case)), ...figures] };
}
const results = merged as Results;
const page = await readFile(PAGE, "utf8");
const begin = page.indexOf(BEGIN);
const end = page.indexOf(END);
if (begin < 0 || end < begin) throw new Error(`${fileURLToPath(PAGE)} lacks the marks that figures go between`);
await writeFile(PAGE, `${page.slice(0, begin)}${BEGIN}\n${markdown(results)}\n${page.slice(end)}`);
await writeFile(CHART, chart(results.figures.filter((figure) => figure.case !== "growth")));
