/** Helpers for AbortSignal. */

/**
 * Settles as `promise` does, or rejects with the signal's reason as soon as it is aborted, whichever comes first. What
 * `promise` stands for isn't stopped by this.
 */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}
