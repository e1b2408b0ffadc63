/** What operators and machines ask over plain HTTP: is it alive, is it ready, what did it count. */
import type { Readiness } from "./health.ts";
import type { Metrics } from "./metrics.ts";

export interface Page {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

export interface Operations {
  readonly paths: ReadonlySet<string>;
  /** The page at one of `paths`. */
  get(path: string): Promise<Page>;
}

const OK = 200;
const NOT_FOUND = 404;
const NOT_READY = 503;
const TEXT = "text/plain; charset=utf-8";
/** Prometheus's text format asks for its version. */
const PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8";

export function createOperations(readiness: Readiness, metrics: Metrics): Operations {
  const pages = new Map<string, () => Promise<Page> | Page>([
    ["/healthz", () => ({ status: OK, type: TEXT, body: "ok\n" })],
    [
      "/readyz",
      () =>
        readiness.ready ? { status: OK, type: TEXT, body: "ready\n" } : { status: NOT_READY, type: TEXT, body: `${readiness.problem}\n` },
    ],
    ["/metrics", async () => ({ status: OK, type: PROMETHEUS, body: await metrics.text() })],
  ]);
  return {
    paths: new Set(pages.keys()),
    get: async (path) => pages.get(path)?.() ?? { status: NOT_FOUND, type: TEXT, body: "not found\n" },
  };
}
