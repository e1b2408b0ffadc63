/** A bar on stderr with rate and time left, where stderr is a terminal; elsewhere nothing. */
import { type Options, SingleBar } from "cli-progress";
import { formatBytes, formatSeconds } from "../lib/quantities.ts";
import type { Progress } from "./progress.ts";

export interface ProgressBar {
  update(progress: Progress): void;
  /** Takes the bar off the terminal, so that what follows stands in its place. */
  stop(): void;
}

/** Bars of these widths are tried until the line fits. */
const BAR_WIDTHS = [30, 20, 10];
/** Of a terminal that doesn't tell. */
const USUAL_COLUMNS = 80;
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
    const share = totalBytes === undefined ? undefined : Math.min(1, params.progress);
    return fitting(process.stderr.columns || USUAL_COLUMNS, {
      verb,
      share,
      bytes: `${formatBytes(bytes)}${totalBytes === undefined ? "" : ` of ${formatBytes(totalBytes)}`}`,
      files: `${files}${totalFiles === undefined ? "" : `/${totalFiles}`} files`,
      rate: `${formatBytes(Math.round(rate))}/s`,
      left: totalBytes !== undefined && rate > 0 ? `${formatSeconds((totalBytes - bytes) / rate)} left` : undefined,
    });
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

/** What a line can tell. */
interface Line {
  readonly verb: string;
  /** What part is done, 0 to 1. */
  readonly share: number | undefined;
  readonly bytes: string;
  readonly files: string;
  readonly rate: string;
  readonly left: string | undefined;
}

/** The longest form of a line that a terminal of so many columns has room for, with one column free for the cursor. */
export function fitting(columns: number, { verb, share, bytes, files, rate, left }: Line): string {
  const percent = share === undefined ? undefined : `${Math.floor(share * 100)}%`;
  const bars = share === undefined ? [undefined] : BAR_WIDTHS.map((width) => `${barOf(share, width)} ${percent}`);
  const forms = [
    ...bars.map((bar) => [verb, bar, bytes, files, rate, left]),
    ...bars.map((bar) => [verb, bar, bytes, rate, left]),
    [verb, percent, bytes, rate, left],
    [verb, percent, bytes, left],
    [percent ?? bytes, left],
    [percent ?? bytes],
  ];
  const lines = forms.map((parts) => parts.filter((part) => part !== undefined).join("  "));
  return lines.find((line) => line.length < columns) ?? "";
}

function barOf(share: number, width: number): string {
  const filled = Math.round(share * width);
  return `[${"#".repeat(filled)}${"-".repeat(width - filled)}]`;
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
