/** A bar on stderr with rate and time left, where stderr is a terminal; elsewhere nothing. */
import { type Options, SingleBar } from "cli-progress";
import { formatBytes, formatSeconds } from "../lib/quantities.ts";
import type { Progress } from "./progress.ts";

export interface ProgressBar {
  update(progress: Progress): void;
  /** Takes the bar off the terminal, so that what follows stands in its place. */
  stop(): void;
}

const BAR_WIDTH = 30;
/** The rate is that of the last seconds: of a transfer that is taken up again, what was there already says nothing. */
const RATE_WINDOW_MS = 5_000;
const MS_PER_SECOND = 1_000;

/** `undefined` where nobody looks. */
export function createProgressBar(verb: string, quiet: boolean | undefined): ProgressBar | undefined {
  if (quiet || !process.stderr.isTTY) return undefined;
  const meter = createRateMeter(RATE_WINDOW_MS);
  const bar = new SingleBar({ stream: process.stderr, clearOnComplete: true, hideCursor: true, noTTYOutput: false, format: draw });
  let last: Progress | undefined;
  let started = false;

  function draw(_options: Options, params: { readonly progress: number }): string {
    if (last === undefined) return verb;
    const { files, bytes, totalFiles, totalBytes } = last;
    const rate = meter.perSecond();
    const parts = [verb];
    if (totalBytes !== undefined) {
      const filled = Math.round(Math.min(1, params.progress) * BAR_WIDTH);
      parts.push(`[${"#".repeat(filled)}${"-".repeat(BAR_WIDTH - filled)}] ${Math.floor(params.progress * 100)}%`);
    }
    parts.push(`${formatBytes(bytes)}${totalBytes === undefined ? "" : ` of ${formatBytes(totalBytes)}`}`);
    parts.push(`${files}${totalFiles === undefined ? "" : `/${totalFiles}`} files`);
    parts.push(`${formatBytes(Math.round(rate))}/s`);
    if (totalBytes !== undefined && rate > 0) parts.push(`${formatSeconds((totalBytes - bytes) / rate)} left`);
    return parts.join("  ");
  }

  return {
    update(progress) {
      last = progress;
      meter.add(progress.bytes);
      // Files may be all empty, and then it is they that count.
      const [value, total] = progress.totalBytes ? [progress.bytes, progress.totalBytes] : [progress.files, progress.totalFiles ?? 1];
      if (started) {
        bar.setTotal(Math.max(total, 1));
        bar.update(value);
      } else {
        bar.start(Math.max(total, 1), value);
        started = true;
      }
    },
    stop() {
      if (started) bar.stop();
    },
  };
}

/** The rate over a window of the past, of a number that grows. */
function createRateMeter(windowMs: number): { add(value: number): void; perSecond(): number } {
  const samples: { readonly at: number; readonly value: number }[] = [];
  return {
    add(value) {
      const at = performance.now();
      samples.push({ at, value });
      while (samples.length > 2 && at - (samples[0]?.at ?? at) > windowMs) samples.shift();
    },
    perSecond() {
      const first = samples[0];
      const last = samples.at(-1);
      if (first === undefined || last === undefined || last.at === first.at) return 0;
      return Math.max(0, ((last.value - first.value) / (last.at - first.at)) * MS_PER_SECOND);
    },
  };
}
