/**
 * The driver contract (src/store/driver.ts), as statements that each driver is held to. A driver brings a harness, and all cases run
 * on it: none is optional. Where one server can't do what a case needs, the harness uses a second server for it.
 */
import type { Driver } from "../../src/store/driver.ts";
import { describeCancellation } from "./conformance/cancellation.ts";
import { describeChecks } from "./conformance/checks.ts";
import { describeConditions } from "./conformance/conditions.ts";
import { describeDeletes } from "./conformance/deletes.ts";
import { describeErrors } from "./conformance/errors.ts";
import { describeLists } from "./conformance/lists.ts";
import type { DriverHarness } from "./conformance/place.ts";
import { describePuts } from "./conformance/puts.ts";
import { describeRanges } from "./conformance/ranges.ts";

export { put, rejectsWith, testBytes } from "./conformance/helpers.ts";
export type { DriverHarness, FailingCall } from "./conformance/place.ts";

/** Holds a driver to the contract. */
export function describeDriver(name: string, harness: DriverHarness): void {
  describe(`the driver ${name}`, function () {
    this.timeout(120_000);
    let spaces = 0;
    let space = "";
    let driver: Driver;
    const opened: Driver[] = [];

    async function open(inSpace: string = space): Promise<Driver> {
      const another = await harness.open(inSpace);
      opened.push(another);
      return another;
    }

    before(() => harness.start());
    after(() => harness.stop());
    beforeEach(async () => {
      space = `c${++spaces}`;
      driver = await open();
    });
    afterEach(async () => {
      for (const one of opened.splice(0)) await one.close();
    });

    const place = {
      harness,
      opened,
      open,
      get space() {
        return space;
      },
      get driver() {
        return driver;
      },
    };
    describePuts(place);
    describeConditions(place);
    describeRanges(place);
    describeLists(place);
    describeDeletes(place);
    describeChecks(place);
    describeCancellation(place);
    describeErrors(place);
  });
}
