/** How far a transfer is, for whoever wants to be told. */

export interface Progress {
  /** Files that are through. */
  readonly files: number;
  /** Bytes that are through, those that were there already included. */
  readonly bytes: number;
  /** Unknown where a stream is uploaded. */
  readonly totalFiles: number | undefined;
  readonly totalBytes: number | undefined;
}

export type OnProgress = ((progress: Progress) => void) | undefined;

/** About so often, in milliseconds. */
const INTERVAL_MS = 100;

export interface Meter {
  /** Counts what has got through. */
  add(files: number, bytes: number): void;
  /** Begins to count anew, as the transfer does. */
  restart(): void;
  /** Tells how it ended. */
  end(): void;
}

export function createMeter(onProgress: OnProgress, totals: { readonly files: number; readonly bytes: number } | undefined): Meter {
  let files = 0;
  let bytes = 0;
  let toldAt = Number.NEGATIVE_INFINITY;
  function tell(): void {
    toldAt = performance.now();
    onProgress?.({ files, bytes, totalFiles: totals?.files, totalBytes: totals?.bytes });
  }
  return {
    add(moreFiles, moreBytes) {
      files += moreFiles;
      bytes += moreBytes;
      if (onProgress !== undefined && performance.now() - toldAt >= INTERVAL_MS) tell();
    },
    restart() {
      files = 0;
      bytes = 0;
    },
    end: tell,
  };
}
