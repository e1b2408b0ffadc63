import fc from "fast-check";
import { type Fault, HOUR, RUNS, type Step, TAGS, World } from "./world.ts";

/** Sequences of operations that are tried; the long form sets it higher. */
const SEQUENCES = Number(process.env["DSTACK_ARTIFACTS_MODEL_SEQUENCES"] ?? 150);
const STEPS = 40;

const run = fc.nat(RUNS.length - 1);
const tag = fc.nat(TAGS.length - 1);
const paths = fc.uniqueArray(fc.nat(4), { minLength: 1, maxLength: 3 });
const which = fc.nat(9);
const fault: fc.Arbitrary<Fault | undefined> = fc.option(
  fc.record({ kind: fc.constantFrom("die", "sleep"), at: fc.integer({ min: 1, max: 30 }), when: fc.constantFrom("before", "after") }),
  { nil: undefined, freq: 2 },
);

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("upload"), run, paths, fault }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("uploadTag"), tag, paths, fault }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("copy"), from: run, to: run, fault }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("createTag"), tag, run, fault }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("deleteTag"), tag, fault }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("deleteRun"), run, force: fc.boolean(), fault }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("abort"), which }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("retry"), which, fault }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("wake"), which }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("collect"), passMs: fc.constantFrom(0, 1, HOUR / 2, HOUR, 2 * HOUR), fault }) },
);

describe("servers that die and sleep at any call, on one store", () => {
  it("lose nothing acknowledged, show nothing else, and keep one order", async () => {
    const totals = { steps: 0, deaths: 0, sleeps: 0, collected: 0 };
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: STEPS }), async (steps) => {
        const world = new World();
        for (const one of steps) await world.take(one);
        await world.settle();
        for (const name of Object.keys(totals) as (keyof typeof totals)[]) totals[name] += world.counts[name];
      }),
      { numRuns: SEQUENCES },
    );
    console.log(`      ${totals.steps} operations, ${totals.deaths} deaths, ${totals.sleeps} sleeps`);
    for (const [name, count] of Object.entries(totals)) if (count === 0) throw new Error(`no ${name} in any sequence`);
  });
});
