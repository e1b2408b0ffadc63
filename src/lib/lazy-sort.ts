/**
 * Gives the items in ascending order, sorting no further than is asked for: of n items the first k cost n + k log n.
 *
 * Reorders `items` itself, which belongs to the generator from then on.
 */
export function* lazySort<T>(items: T[], compare: (a: T, b: T) => number): Generator<T, void, void> {
  for (let i = (items.length >>> 1) - 1; i >= 0; i--) sink(items, i, compare);
  while (items.length > 0) {
    const least = items[0] as T;
    const last = items.pop() as T;
    if (items.length > 0) {
      items[0] = last;
      sink(items, 0, compare);
    }
    yield least;
  }
}

/** Restores a binary heap (each item is not greater than those at 2i + 1 and 2i + 2) below `index`. */
function sink<T>(heap: T[], index: number, compare: (a: T, b: T) => number): void {
  const item = heap[index] as T;
  let hole = index;
  for (;;) {
    let child = 2 * hole + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && compare(heap[child + 1] as T, heap[child] as T) < 0) child++;
    if (compare(item, heap[child] as T) <= 0) break;
    heap[hole] = heap[child] as T;
    hole = child;
  }
  heap[hole] = item;
}
