/**
 * Lets callers that want the same thing done at the same time share one run of it.
 *
 * Each caller is served by a run that began after it asked, never by one under way: what it did before asking (a file
 * that it put into a folder which is now to be flushed) is then covered. All callers of a run get its result or its error.
 */
export function grouped<K, T>(run: (key: K) => Promise<T>): (key: K) => Promise<T> {
  interface Group {
    readonly running: Promise<T>;
    next: Promise<T> | undefined;
  }
  const groups = new Map<K, Group>();

  function start(key: K): Promise<T> {
    const group: Group = { running: run(key), next: undefined };
    groups.set(key, group);
    const forget = () => {
      if (group.next === undefined) groups.delete(key);
    };
    group.running.then(forget, forget);
    return group.running;
  }

  return (key) => {
    const group = groups.get(key);
    if (group === undefined) return start(key);
    group.next ??= group.running.then(
      () => start(key),
      () => start(key),
    );
    return group.next;
  };
}
