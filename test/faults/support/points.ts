/** At how many points a fault is tried: few in the short form, all that were promised in the long one (`DSTACK_ARTIFACTS_FAULTS=long`). */
import assert from "node:assert/strict";

export const IS_LONG = process.env["DSTACK_ARTIFACTS_FAULTS"] === "long";

export interface Points {
  readonly count: number;
  /** The i-th point of those from 1 to `last`: spread evenly; more than there are come round again. */
  at(i: number, last: number): number;
  of(last: number): number[];
  /** Prints how many faults struck, and fails if some did not. */
  report(what: string, fired: number): void;
}

export function pointsOf(short: number, long: number): Points {
  const count = IS_LONG ? long : short;
  const at = (i: number, last: number) => 1 + (count <= last ? Math.floor(((i % count) * last) / count) : i % last);
  return {
    count,
    at,
    of: (last) => Array.from({ length: count }, (_, i) => at(i, last)),
    report(what, fired) {
      console.log(`      ${what}: ${count} points, ${fired} faults struck`);
      assert.equal(fired, count, "every fault struck");
    },
  };
}
