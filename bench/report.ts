/** Figures as text, with a bar for each rate. */
import type { Figure } from "./measure.ts";

const BAR_CELLS = 24;

function number(value: number, digits: number): string {
  return Number.isFinite(value) ? value.toFixed(digits) : "–";
}

/** One table a task: MB/s (files/s where there are many), CPU seconds per GB of client and server, peak memory of both, ratio to the first. */
export function report(figures: readonly Figure[]): string {
  const lines: string[] = [];
  const groups = new Map<string, Figure[]>();
  for (const figure of figures) {
    const title = `${figure.case}: ${figure.task}`;
    groups.set(title, [...(groups.get(title) ?? []), figure]);
  }
  for (const [title, group] of groups) {
    const many = /\d{2,} files/.test(title);
    const fastest = Math.max(...group.map((figure) => figure.mbPerSecond));
    lines.push("", title, `  ${"".padEnd(28)} ${many ? "files/s" : "   MB/s"}  CPU s/GB client server  peak MB client server  to first`);
    for (const figure of group) {
      const rate = many ? figure.filesPerSecond : figure.mbPerSecond;
      const bar = "█".repeat(Math.max(1, Math.round((figure.mbPerSecond / fastest) * BAR_CELLS)));
      lines.push(
        `  ${figure.contender.padEnd(28)} ${number(rate, 0).padStart(7)}  ${number(figure.clientCpuPerGb, 2).padStart(15)} ${number(figure.serverCpuPerGb, 2).padStart(6)}  ${number(figure.clientPeakMb, 0).padStart(14)} ${number(figure.serverPeakMb, 0).padStart(6)}  ${number(figure.toFirst, 2).padStart(8)}  ${bar}`,
      );
    }
  }
  return lines.join("\n");
}
