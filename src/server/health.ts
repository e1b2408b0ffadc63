/** grpc.health.v1, and what decides it: whether the store answers, and whether the server is stopping. */
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import type { Logger } from "pino";
import { ArtifactsService } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import {
  type Health,
  HealthCheckResponseSchema,
  HealthListResponseSchema,
  HealthCheckResponse_ServingStatus as Status,
} from "../../gen/ts/health/v1/health_pb.ts";
import type { Artifacts } from "../artifacts/types.ts";
import { untilAborted } from "../lib/abort.ts";
import type { Limits } from "./options.ts";

export interface Readiness {
  readonly ready: boolean;
  /** Why not, for a person; empty when ready. */
  readonly problem: string;
  /** Calls `listener` at each change, until the function that it gives is called. */
  onChange(listener: () => void): () => void;
  /** Not ready from now on. */
  stop(): void;
}

/** Looks at the store every few seconds. */
export function watchReadiness(artifacts: Artifacts, limits: Limits, logger: Logger): Readiness {
  let problem = "";
  let stopped = false;
  const listeners = new Set<() => void>();

  function set(next: string): void {
    if (next === problem) return;
    const before = problem;
    problem = next;
    if (next === "") logger.info("the store answers again: ready");
    else if (before === "" && !stopped) logger.warn({ problem }, "not ready");
    for (const each of listeners) each();
  }
  let looking = false;
  async function look(): Promise<void> {
    if (looking) return;
    looking = true;
    try {
      const signal = AbortSignal.timeout(limits.readinessTimeoutMs);
      await untilAborted(artifacts.checkStore({ signal }), signal);
      if (!stopped) set("");
    } catch (error) {
      if (!stopped) set(`the store does not answer: ${error instanceof Error ? error.message : error}`);
    } finally {
      looking = false;
    }
  }
  const timer = setInterval(() => void look(), limits.readinessIntervalMs);
  timer.unref();

  return {
    get ready() {
      return problem === "";
    },
    get problem() {
      return problem;
    },
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    stop() {
      clearInterval(timer);
      stopped = true;
      set("the server is stopping");
    },
  };
}

/** The names that can be asked for; the empty one is the server as a whole. */
const SERVICES: readonly string[] = ["", ArtifactsService.typeName];

export function healthService(readiness: Readiness, stopping: AbortSignal): ServiceImpl<typeof Health> {
  const statusOf = (service: string) => {
    if (!SERVICES.includes(service)) return Status.SERVICE_UNKNOWN;
    return readiness.ready ? Status.SERVING : Status.NOT_SERVING;
  };
  const response = (service: string) => create(HealthCheckResponseSchema, { status: statusOf(service) });

  return {
    check({ service }) {
      if (!SERVICES.includes(service)) throw new ConnectError(`no service ${service}`, Code.NotFound);
      return response(service);
    },
    list: () => create(HealthListResponseSchema, { statuses: Object.fromEntries(SERVICES.map((service) => [service, response(service)])) }),
    async *watch({ service }, { signal }) {
      let wake = () => {};
      const forget = readiness.onChange(() => wake());
      const onAbort = () => wake();
      signal.addEventListener("abort", onAbort);
      try {
        let last: Status | undefined;
        while (!signal.aborted) {
          const changed = new Promise<void>((resolve) => {
            wake = resolve;
          });
          const status = statusOf(service);
          if (status !== last) yield response(service);
          last = status;
          // Who watches must not keep a server from stopping.
          if (stopping.aborted) return;
          if (statusOf(service) === last && !signal.aborted) await changed;
        }
      } finally {
        forget();
        signal.removeEventListener("abort", onAbort);
      }
    },
  };
}
