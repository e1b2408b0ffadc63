import { strict as assert } from "node:assert";
import fc from "fast-check";
import { Sequence } from "../../src/client/sequence.ts";

/** What is done to a sequence: something added, a hold begun, or the hold of so many before released, once. */
type Step = "add" | "hold" | { readonly release: number };

describe("a sequence", () => {
  it("counts in order what has no hold before it that isn't released, at once", () => {
    const step = fc.oneof(
      fc.constant<Step>("add"),
      fc.constant<Step>("hold"),
      fc.nat(5).map((release): Step => ({ release })),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const counted: number[] = [];
        const sequence = new Sequence<number>((item) => counted.push(item));
        const holds: { readonly from: number; readonly release: () => void; isReleased: boolean }[] = [];
        let added = 0;
        for (const each of steps) {
          if (each === "add") sequence.add(added++);
          else if (each === "hold") holds.push({ from: added, release: sequence.hold(), isReleased: false });
          else {
            const hold = holds.filter(({ isReleased }) => !isReleased)[each.release];
            if (hold) hold.isReleased = true;
            hold?.release();
          }
          const until = holds.find(({ isReleased }) => !isReleased)?.from ?? added;
          assert.deepEqual(
            counted,
            Array.from({ length: until }, (_, i) => i),
          );
        }
      }),
      { numRuns: 500 },
    );
  });

  it("forgets what it holds, and goes on", () => {
    const counted: string[] = [];
    const sequence = new Sequence<string>((item) => counted.push(item));
    sequence.add("a");
    sequence.hold();
    sequence.add("b");
    sequence.clear();
    sequence.add("c");
    assert.deepEqual(counted, ["a", "c"]);
  });
});
