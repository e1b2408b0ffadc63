/** Each request's life: its id, who sent it, what came of it; in the log, the metrics and traces; and what stops it. */

import { randomUUID } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http2";
import { type Code, Code as Codes, ConnectError } from "@connectrpc/connect";
import { codeToString } from "@connectrpc/connect/protocol-connect";
import { propagation, ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import type { Logger } from "pino";
import { ArtifactsFailure } from "../artifacts/errors.ts";
import { failureToConnect, toConnectError } from "./errors.ts";
import { type Metrics, TRACER } from "./metrics.ts";
import type { Principal } from "./tokens.ts";

export interface Call {
  readonly requestId: string;
  /** The path without the slash in front, or "other" for one that doesn't exist. */
  readonly method: string;
  /** Aborted when the client is gone, when the server stops, and when the call is over. */
  readonly signal: AbortSignal;
  readonly log: Logger;
  readonly span: Span;
  readonly metrics: Metrics;
  /** Set once the request was let in. */
  principal: Principal | undefined;
  /** Whether it is known how it ended. */
  readonly settled: boolean;
  /** Makes what a client is told of an error, logs what it isn't, and keeps it as the call's outcome. */
  fail(error: unknown): ConnectError;
  /** All went well, unless it failed before. */
  succeed(): void;
  /** Ends what is done for the call. */
  cancel(reason: unknown): void;
  /** Work that goes on for the call, perhaps longer than its stream: the server waits for it when it stops. */
  track<T>(work: Promise<T>): Promise<T>;
  /** Its stream is closed. */
  end(): void;
}

export interface Calls {
  begin(request: { path: string; known: boolean; headers: IncomingHttpHeaders; protocol: string; peer: string | undefined }): Call;
  readonly running: number;
  /** Ends all that run, in a way that can be taken up again. */
  abortAll(reason: string): void;
  /** Resolves when no call runs and no work of one goes on. */
  ended(): Promise<void>;
}

const REQUEST_ID = /^[A-Za-z0-9._:/+=-]{1,128}$/;
const MS_PER_SECOND = 1_000;
/** Asked for every few seconds by machines. */
const QUIET = /^(grpc\.health\.|grpc\.reflection\.|healthz$|readyz$|metrics$)/;

export function createCalls(logger: Logger, metrics: Metrics): Calls {
  const running = new Map<Call, AbortController>();
  const work = new Set<Promise<unknown>>();
  let waiting: (() => void)[] = [];

  function settle(): void {
    if (running.size > 0 || work.size > 0) return;
    for (const wake of waiting) wake();
    waiting = [];
  }

  return {
    get running() {
      return running.size;
    },
    begin({ path, known, headers, protocol, peer }) {
      const method = known ? path.slice(1) : "other";
      const requestId = requestIdOf(headers);
      const start = performance.now();
      const controller = new AbortController();
      const span = trace
        .getTracer(TRACER)
        .startSpan(
          method,
          { kind: SpanKind.SERVER, attributes: { "rpc.method": method, "request.id": requestId } },
          propagation.extract(ROOT_CONTEXT, headers),
        );
      let outcome: Code | "ok" | undefined;
      const call: Call = {
        requestId,
        method,
        signal: controller.signal,
        log: logger.child({ requestId, method }),
        span,
        metrics,
        principal: undefined,
        get settled() {
          return outcome !== undefined;
        },
        fail(error) {
          const told = toConnectError(error, (fault) => {
            call.log.error({ err: fault }, "the call met a fault");
            span.recordException(fault instanceof Error ? fault : String(fault));
            return `the server met a fault, which its log has under request ${requestId}`;
          });
          outcome = told.code;
          span.setStatus({ code: SpanStatusCode.ERROR, message: told.message });
          return told;
        },
        succeed() {
          outcome ??= "ok";
        },
        cancel(reason) {
          controller.abort(reason);
        },
        track(promise) {
          work.add(promise);
          const done = () => {
            work.delete(promise);
            settle();
          };
          promise.then(done, done);
          return promise;
        },
        end() {
          if (!running.delete(call)) return;
          const code = outcome === "ok" ? "ok" : codeToString(outcome ?? Codes.Canceled);
          const durationMs = performance.now() - start;
          controller.abort(new ConnectError("the client has gone away", Codes.Canceled));
          metrics.callEnded(method, protocol, code, durationMs / MS_PER_SECOND);
          const level = QUIET.test(method) && code === "ok" ? "debug" : "info";
          call.log[level]({ code, protocol, peer, principal: call.principal?.name, durationMs: Math.round(durationMs) }, "call");
          span.setAttribute("rpc.code", code);
          span.end();
          settle();
        },
      };
      running.set(call, controller);
      metrics.callStarted(method);
      return call;
    },
    abortAll(reason) {
      for (const controller of running.values()) controller.abort(stopping(reason));
    },
    ended() {
      return new Promise((resolve) => {
        waiting.push(resolve);
        settle();
      });
    },
  };
}

/** What calls are told that come or run while the server stops. */
export function stopping(reason: string): ConnectError {
  return failureToConnect(new ArtifactsFailure("SERVER_STOPPING", `the server is stopping (${reason}): try again`));
}

/** The client's own if it is one that a log can hold. */
function requestIdOf(headers: IncomingHttpHeaders): string {
  const given = headers["x-request-id"];
  return typeof given === "string" && REQUEST_ID.test(given) ? given : randomUUID();
}
