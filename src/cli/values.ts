/** Values of flags: durations and byte ranges. */
import { DstackError } from "../client/errors.ts";

const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A duration as `24h`, `90m`, `30s`, `500ms`, `7d`, or several of these together (`1h30m`), in milliseconds. */
export function parseDuration(flag: string, text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)];
  const whole = parts.map(([part]) => part).join("");
  if (parts.length === 0 || whole !== text)
    throw new DstackError(`${flag} ${JSON.stringify(text)} is not a duration: write 24h, 90m, 30s or 0s`);
  return Math.round(parts.reduce((sum, [, number, unit]) => sum + Number(number) * (UNITS_MS[unit ?? ""] ?? 0), 0));
}

/** `A-B` or `A-`: bytes A to B, both included, as HTTP counts them. */
export function parseByteRange(text: string): { readonly offset: number; readonly length?: number } {
  const match = /^(\d+)-(\d*)$/.exec(text);
  const [first, last] = [Number(match?.[1]), match?.[2] ? Number(match[2]) : undefined];
  const fits = match !== null && Number.isSafeInteger(first) && (last === undefined || (Number.isSafeInteger(last) && last >= first));
  if (!fits) throw new DstackError(`--range ${JSON.stringify(text)} is not a range: write A-B, bytes A to B, both included, from 0`);
  return last === undefined ? { offset: first } : { offset: first, length: last - first + 1 };
}
