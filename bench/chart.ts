/** Figures as a picture: bars of rates, task by task. */

import type { Figure } from "./measure.ts";
import { type Group, groupsOf, rateOf } from "./report.ts";

const WIDTH = 860;
const LABEL_WIDTH = 300;
const BAR_WIDTH = 440;
const ROW = 20;
const TITLE = 34;
const MARGIN = 16;
const OURS = "#2f6fde";
const OTHERS = "#b4bcc8";
const TEXT = "#1f2530";

/** An SVG of its own, on white. */
export function chart(figures: readonly Figure[]): string {
  const parts: string[] = [];
  let y = MARGIN;
  for (const group of groupsOf(figures)) {
    parts.push(text(MARGIN, y + 22, `${group.title}, ${group.unit}`, 'font-weight="600"'));
    y += TITLE;
    for (const figure of group.figures) {
      parts.push(...bar(group, figure, y));
      y += ROW;
    }
  }
  const height = y + MARGIN;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="13">`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    ...parts,
    "</svg>",
    "",
  ].join("\n");
}

function bar(group: Group, figure: Figure, y: number): string[] {
  const fastest = Math.max(...group.figures.map((each) => rateOf(group, each)));
  const rate = rateOf(group, figure);
  const length = Math.max(1, Math.round((rate / fastest) * BAR_WIDTH));
  const ours = /dstack-artifacts|client|to ours|^codec$/.test(figure.contender);
  return [
    text(LABEL_WIDTH - 8, y + 14, figure.contender, 'text-anchor="end"'),
    `<rect x="${LABEL_WIDTH}" y="${y + 2}" width="${length}" height="${ROW - 6}" rx="2" fill="${ours ? OURS : OTHERS}"/>`,
    text(LABEL_WIDTH + length + 6, y + 14, Math.round(rate).toLocaleString("en")),
  ];
}

function text(x: number, y: number, content: string, more = ""): string {
  const escaped = content.replace(/[&<>]/g, (character) => `&#${character.charCodeAt(0)};`);
  return `<text x="${x}" y="${y}" fill="${TEXT}" ${more}>${escaped}</text>`;
}
