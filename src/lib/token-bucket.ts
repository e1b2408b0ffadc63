/** A rate with a burst: `burst` at once, then `perSecond`. */
export interface TokenBucket {
  /** Whether one more is within the rate; if so it counts. */
  take(): boolean;
}

const MS_PER_SECOND = 1_000;

/** `now` is a clock in milliseconds that never goes back. */
export function createTokenBucket(burst: number, perSecond: number, now: () => number = () => performance.now()): TokenBucket {
  let left = burst;
  let last = now();
  return {
    take() {
      const time = now();
      left = Math.min(burst, left + ((time - last) / MS_PER_SECOND) * perSecond);
      last = time;
      if (left < 1) return false;
      left--;
      return true;
    },
  };
}
