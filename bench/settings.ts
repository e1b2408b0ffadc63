import type { TreeSize } from "./trees.ts";

/** What a run of the benchmarks is told. */
export interface Settings {
  /** Measured rounds; one more before them isn't counted. */
  readonly rounds: number;
  /** Of the one large file. */
  readonly largeBytes: number;
  /** Of the largest stream in `growth`. */
  readonly largestBytes: number;
  /** How many files of 4 KiB. */
  readonly smallFiles: number;
  /** What is transferred to and from stores. */
  readonly trees: readonly TreeSize[];
  /** Loopback TCP instead of Unix sockets. */
  readonly tcp: boolean;
  /** A folder for CPU profiles of our processes. */
  readonly profile: string | undefined;
  /** Where files and stores are made, on a disk. */
  readonly folder: string;
  /** The same in memory, as far as the machine has such a file system. */
  readonly memoryFolder: string;
  /** Contenders whose names hold none of these are left out; empty: all take part. */
  readonly only: readonly string[];
  readonly progress: (text: string) => void;
}
