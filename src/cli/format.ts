/** How things read: for people in tables and sentences, for programs in JSON. */
import { formatBytes } from "../lib/quantities.ts";

const NS_PER_SECOND = 1_000_000_000n;
const MS_PER_SECOND = 1_000;

/** `1 file`, `3 files`. */
export function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}

/** `3 files, 1.4 MiB`. */
export function formatTotals({ files, bytes }: { readonly files: number; readonly bytes: number }): string {
  return `${count(files, "file")}, ${formatBytes(bytes)}`;
}

/** RFC 3339 in UTC, with all nine digits of the nanoseconds. */
export function formatNanoseconds(ns: bigint): string {
  const nanos = ((ns % NS_PER_SECOND) + NS_PER_SECOND) % NS_PER_SECOND;
  const date = new Date(Number((ns - nanos) / NS_PER_SECOND) * MS_PER_SECOND);
  return `${date.toISOString().slice(0, -5)}.${String(nanos).padStart(9, "0")}Z`;
}

/** `2026-11-25 14:03`, in the reader's time zone. */
export function formatTime(date: Date): string {
  const two = (n: number) => String(n).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}`;
}

export function millisecondsOf(ns: bigint): number {
  return Number(ns / 1_000_000n);
}

/** `0644`. */
export function formatMode(mode: number): string {
  return mode.toString(8).padStart(4, "0");
}

/** Text that a terminal can show: control characters, which a name on disk may hold, as escapes. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not reach a terminal
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

/** Columns under their headings, two spaces apart; those whose heading starts with `>` are set to the right. */
export function formatTable(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const names = headings.map((heading) => heading.replace(/^>/, ""));
  const widths = names.map((name, i) => rows.reduce((width, row) => Math.max(width, (row[i] ?? "").length), name.length));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => (headings[i]?.startsWith(">") ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
      .join("  ")
      .trimEnd();
  return [line(names), ...rows.map(line)].join("\n");
}
