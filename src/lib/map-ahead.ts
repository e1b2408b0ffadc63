/**
 * What `map` makes of each value, in the order of the values, while it is at work on up to `most` of them. Values are asked for only as
 * far as that. The first failure, in that order, ends it, one of `values` at once; what is at work then is not waited for.
 */
export async function* mapAhead<T, R>(
  values: AsyncIterable<T> | Iterable<T>,
  most: number,
  map: (value: T) => Promise<R>,
): AsyncGenerator<R, void, undefined> {
  const working: Promise<R>[] = [];
  for await (const value of values) {
    const result = map(value);
    // It fails where it is waited for, or nowhere.
    result.catch(() => {});
    working.push(result);
    if (working.length === most) yield await (working.shift() as Promise<R>);
  }
  for (const result of working) yield await result;
}
