/** Small files that came one after the other, to be written together. */
import { crc32c } from "../lib/crc32c.ts";
import {
  AT_ONCE_BYTES,
  damaged,
  type Found,
  modeOf,
  mtimeOf,
  NOTHING_FOUND,
  type PartialFile,
  partialPath,
  type WantedFile,
} from "./partial-file.ts";
import type { SmallFiles } from "./small-files.ts";

/** A file while its bytes come. */
interface Begun {
  readonly wanted: WantedFile;
  readonly final: string;
  received: number;
  crc: number;
}

/** Bytes that a batch has room for. */
export const BATCH_BYTES = AT_ONCE_BYTES;

export type OpenPartial = (final: string, wanted: WantedFile, found: Found) => PartialFile;

export class Batch {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly files: SmallFiles = { finals: [], partials: [], sizes: [], modes: [], mtimes: [] };
  /** What each of the files is to be. */
  readonly #wanted: WantedFile[] = [];
  readonly #openPartial: OpenPartial;
  #used = 0;
  #begun: Begun | undefined;

  /** Gathers in `bytes`, of BATCH_BYTES. `openPartial` is for files that can't be written at once. */
  constructor(bytes: Uint8Array<ArrayBuffer>, openPartial: OpenPartial) {
    this.bytes = bytes;
    this.#openPartial = openPartial;
  }

  hasRoom({ size }: WantedFile): boolean {
    return this.#used + size <= this.bytes.length;
  }

  /** Complete files. */
  get length(): number {
    return this.#wanted.length;
  }

  /** Bytes that have come of the file that was begun and isn't complete; `undefined` if there is none. */
  get received(): number | undefined {
    return this.#begun?.received;
  }

  begin(wanted: WantedFile, final: string): void {
    this.#begun = { wanted, final, received: 0, crc: 0 };
  }

  /** Takes the next bytes of the file that was begun. */
  add(bytes: Uint8Array): void {
    const file = this.#begun as Begun;
    if (file.received + bytes.length > file.wanted.size) throw damaged(file.wanted, "size");
    this.bytes.set(bytes, this.#used + file.received);
    file.received += bytes.length;
    file.crc = crc32c(bytes, file.crc);
  }

  /** Checks the file, which is one of the batch now. */
  end(): WantedFile {
    const { wanted, final, received: size, crc } = this.#begun as Begun;
    if (size !== wanted.size || crc !== wanted.crc32c) throw damaged(wanted, size === wanted.size ? "checksum" : "size");
    this.files.finals.push(final);
    this.files.partials.push(partialPath(final, wanted));
    this.files.sizes.push(size);
    this.files.modes.push(modeOf(wanted));
    this.files.mtimes.push(mtimeOf(wanted));
    this.#wanted.push(wanted);
    this.#used += size;
    this.#begun = undefined;
    return wanted;
  }

  /** Lets another, empty batch go on with the file that was begun. */
  handOver(other: Batch): void {
    const file = this.#begun as Begun;
    this.#begun = undefined;
    other.bytes.set(this.bytes.subarray(this.#used, this.#used + file.received));
    other.#begun = file;
  }

  /** Forgets the file that was begun. */
  forget(): void {
    this.#begun = undefined;
  }

  /** The same, but puts what has come of it into a partial file, to be gone on with. Never rejects. */
  async leave(): Promise<PartialFile | undefined> {
    const file = this.#begun;
    this.#begun = undefined;
    if (file === undefined || file.received === 0) return undefined;
    try {
      const partial = this.#openPartial(file.final, file.wanted, NOTHING_FOUND);
      await partial.write([this.bytes.subarray(this.#used, this.#used + file.received)]);
      await partial.leave();
      return partial;
    } catch {
      return undefined;
    }
  }

  /** Writes, with all care, files that couldn't be written at once; `bytes` are those of the batch. Rejects with what the system says. */
  async writeLeft(indexes: readonly number[], bytes: Uint8Array): Promise<void> {
    for (const index of indexes) {
      const wanted = this.#wanted[index] as WantedFile;
      const offset = this.files.sizes.slice(0, index).reduce((sum, size) => sum + size, 0);
      const partial = this.#openPartial(this.files.finals[index] as string, wanted, NOTHING_FOUND);
      try {
        await partial.write([bytes.subarray(offset, offset + wanted.size)]);
        await partial.finish();
      } finally {
        await partial.leave();
      }
    }
  }
}
