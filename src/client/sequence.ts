/** Counts things in the order in which they came, though some of them have to wait. */
export class Sequence<T> {
  readonly #count: (item: T) => void;
  #held: { readonly items: T[]; isReleased: boolean }[] = [];

  constructor(count: (item: T) => void) {
    this.#count = count;
  }

  /** Counts the item when all before it are counted. */
  add(item: T): void {
    const last = this.#held.at(-1);
    if (last) last.items.push(item);
    else this.#count(item);
  }

  /** Holds what is added from now on, until what it returns is called. */
  hold(): () => void {
    const group = { items: [], isReleased: false };
    this.#held.push(group);
    return () => {
      group.isReleased = true;
      while (this.#held[0]?.isReleased) for (const item of this.#held.shift()?.items ?? []) this.#count(item);
    };
  }

  /** Forgets what is held. */
  clear(): void {
    this.#held = [];
  }
}
