import type { Driver, StoreErrorKind } from "../../../src/store/driver.ts";

/** What a driver brings to be tested. Spaces are names such as `c12`; what is put in one isn't seen in another. */
export interface DriverHarness {
  /** Starts servers and the like; before everything else. */
  start(): Promise<void>;
  /** Opens a driver on a space, empty when it is opened first. Opened again, it is a second driver on the same objects. */
  open(space: string): Promise<Driver>;
  /** The same, on a store where a byte of an object can be changed behind the driver's back, at rest or on its way back. */
  openDamageable(space: string): Promise<DamageableStore>;
  /** Calls that fail for reasons of this kind of store: at least one. */
  readonly failures: readonly [FailingCall, ...FailingCall[]];
  /** Stops what `start` started. */
  stop(): Promise<void>;
}

export interface DamageableStore {
  readonly driver: Driver;
  /** Changes a byte of the object, for all reads from now on. */
  damage(key: string): Promise<void>;
}

export interface FailingCall {
  /** For a sentence: "fails with kind … when …". */
  readonly when: string;
  readonly kind: StoreErrorKind;
  /** Makes the call, which must reject. */
  call(): Promise<unknown>;
}

/** Where a case runs: a space of its own, and a driver on it. */
export interface Place {
  readonly harness: DriverHarness;
  readonly space: string;
  readonly driver: Driver;
  /** Drivers to be closed after the case. */
  readonly opened: Driver[];
  /** Opens another driver, on the case's space unless another is named. */
  open(space?: string): Promise<Driver>;
}
