/** Figures as text: a table for each task, for a terminal with bars, for a page as Markdown. */
import type { Figure } from "./measure.ts";

const BAR_CELLS = 24;

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGb: number;
  readonly node: string;
  readonly nodeFlags: string;
  readonly platform: string;
  readonly folder: string;
  readonly memoryFolder: string;
  /** ISO 8601. */
  readonly date: string;
}

/** What a run of the benchmarks leaves in a file. */
export interface Results {
  readonly machine: Machine;
  readonly figures: readonly Figure[];
}

/** The figures of one task, those that are to be compared. */
export interface Group {
  readonly title: string;
  /** "files/s" where there are many files, else "MB/s". */
  readonly unit: "files/s" | "MB/s";
  readonly figures: readonly Figure[];
}

export function groupsOf(figures: readonly Figure[]): Group[] {
  const groups = new Map<string, Figure[]>();
  for (const figure of figures) {
    const title = `${figure.case}: ${figure.task}`;
    groups.set(title, [...(groups.get(title) ?? []), figure]);
  }
  return [...groups].map(([title, group]) => ({ title, unit: /\d{2,} files/.test(title) ? "files/s" : "MB/s", figures: group }));
}

export function rateOf({ unit }: Group, figure: Figure): number {
  return unit === "files/s" ? figure.filesPerSecond : figure.mbPerSecond;
}

function number(value: number | null, digits: number): string {
  return value !== null && Number.isFinite(value) ? value.toFixed(digits) : "–";
}

/** For a terminal. */
export function report(figures: readonly Figure[]): string {
  const lines: string[] = [];
  for (const group of groupsOf(figures)) {
    const width = Math.max(...group.figures.map(({ contender }) => contender.length));
    const fastest = Math.max(...group.figures.map((figure) => figure.mbPerSecond));
    lines.push("", group.title, `  ${"".padEnd(width)} ${group.unit.padStart(7)}  CPU s/GB client server  peak MB client server  to first`);
    for (const figure of group.figures) {
      const bar = "█".repeat(Math.max(1, Math.round((figure.mbPerSecond / fastest) * BAR_CELLS)));
      const cells = [
        number(rateOf(group, figure), 0).padStart(7),
        number(figure.clientCpuPerGb, 2).padStart(16),
        number(figure.serverCpuPerGb, 2).padStart(6),
        number(figure.clientPeakMb, 0).padStart(15),
        number(figure.serverPeakMb, 0).padStart(6),
        number(figure.toFirst, 2).padStart(9),
      ];
      lines.push(`  ${figure.contender.padEnd(width)} ${cells.join(" ")}  ${bar}`);
    }
  }
  return lines.join("\n");
}

/** For a page. */
export function markdown({ machine, figures }: Results): string {
  const { cpu, cores, memoryGb, node, nodeFlags, platform, date } = machine;
  const lines = [
    `Measured on ${date.slice(0, 10)}: ${cpu}, ${cores} cores, ${memoryGb} GB, ${platform}, Node ${node}; our processes with \`${nodeFlags}\`, as the package's bin has it.`,
  ];
  for (const group of groupsOf(figures)) {
    lines.push("", `**${group.title}** (median of ${Math.max(...group.figures.map(({ rounds }) => rounds))})`, "");
    lines.push(`| | ${group.unit} | client, CPU s/GB | server, CPU s/GB | client, peak MB | server, peak MB | to first |`);
    lines.push("| --- | --: | --: | --: | --: | --: | --: |");
    for (const figure of group.figures) {
      const cells = [
        figure.contender,
        number(rateOf(group, figure), 0),
        number(figure.clientCpuPerGb, 2),
        number(figure.serverCpuPerGb, 2),
        number(figure.clientPeakMb, 0),
        number(figure.serverPeakMb, 0),
        number(figure.toFirst, 2),
      ];
      lines.push(`| ${cells.join(" | ")} |`);
    }
  }
  return lines.join("\n");
}
