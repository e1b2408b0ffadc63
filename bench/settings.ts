/** What a run of the benchmarks is told. */
export interface Settings {
  /** Measured rounds; one more before them isn't counted. */
  readonly rounds: number;
  /** Of the one large file. */
  readonly largeBytes: number;
  /** How many files of 4 KiB. */
  readonly smallFiles: number;
  /** Loopback TCP instead of Unix sockets. */
  readonly tcp: boolean;
  /** A folder for CPU profiles of our processes. */
  readonly profile: string | undefined;
  /** Where files and stores are made. */
  readonly folder: string;
  /** A kind of store besides those on this machine. */
  readonly store: string | undefined;
  /** Clients in other languages. */
  readonly clients: readonly string[];
  readonly progress: (text: string) => void;
}
