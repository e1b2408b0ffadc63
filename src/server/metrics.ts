/** What the server counts: instruments of OpenTelemetry's API on a provider of our own, shown as Prometheus text. */
import { ROOT_CONTEXT, SpanKind, trace } from "@opentelemetry/api";
import { PrometheusExporter, PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import { MeterProvider } from "@opentelemetry/sdk-metrics";
import type { StoreCall } from "../store/layers/instrument.ts";
import { currentCall } from "./current-call.ts";

export interface Metrics {
  /** Told of each call to the store; give it to what opens the store. */
  readonly storeObserver: (call: StoreCall) => void;
  callStarted(method: string): void;
  /** `code` is a gRPC code's name, "ok" for success. */
  callEnded(method: string, protocol: string, code: string, seconds: number): void;
  /** Bytes of files that came in or went out. */
  transferred(direction: "in" | "out", bytes: number): void;
  connections(change: 1 | -1): void;
  /** In Prometheus's text format. */
  text(): Promise<string>;
  close(): Promise<void>;
}

export const TRACER = "dstack-artifacts";
const PREFIX = "dstack_artifacts";
/** Seconds. Transfers run for minutes, look-ups for milliseconds. */
const CALL_BUCKETS = [0.002, 0.01, 0.05, 0.2, 1, 5, 30, 120, 600, 3_600];
const STORE_BUCKETS = [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60];
const MS_PER_SECOND = 1_000;

export function createMetrics(): Metrics {
  const exporter = new PrometheusExporter({ preventServerStart: true });
  const provider = new MeterProvider({ readers: [exporter] });
  // No prefix, times or labels of its own: Prometheus adds what tells one server from another.
  const serializer = new PrometheusSerializer(undefined, false, undefined, true, true);
  const meter = provider.getMeter(TRACER);
  const calls = meter.createCounter(`${PREFIX}_calls`, { description: "Calls that ended" });
  const callSeconds = meter.createHistogram(`${PREFIX}_call_duration_seconds`, {
    description: "How long calls took",
    advice: { explicitBucketBoundaries: CALL_BUCKETS },
  });
  const running = meter.createUpDownCounter(`${PREFIX}_calls_in_flight`, { description: "Calls that run" });
  const bytes = meter.createCounter(`${PREFIX}_file_bytes`, { description: "Bytes of files that came in and went out" });
  const connections = meter.createUpDownCounter(`${PREFIX}_connections`, { description: "Open connections" });
  const storeSeconds = meter.createHistogram(`${PREFIX}_store_call_duration_seconds`, {
    description: "How long calls to the store took, tries and waits included",
    advice: { explicitBucketBoundaries: STORE_BUCKETS },
  });
  const storeBytes = meter.createCounter(`${PREFIX}_store_bytes`, { description: "Bytes put into the store and read from it" });
  meter
    .createObservableGauge(`${PREFIX}_resident_memory_bytes`, { description: "Resident memory of the server's process" })
    .addCallback((result) => result.observe(process.memoryUsage.rss()));

  return {
    storeObserver(call) {
      const { operation, keyKind: kind, outcome } = call;
      storeSeconds.record(call.durationMs / MS_PER_SECOND, { operation, kind, outcome });
      if (call.bytes > 0) storeBytes.add(call.bytes, { operation, kind });
      tellCaller(call);
    },
    callStarted(method) {
      running.add(1, { method });
    },
    callEnded(method, protocol, code, seconds) {
      running.add(-1, { method });
      calls.add(1, { method, protocol, code });
      callSeconds.record(seconds, { method });
    },
    transferred(direction, count) {
      bytes.add(count, { direction });
    },
    connections(change) {
      connections.add(change);
    },
    async text() {
      const { resourceMetrics } = await exporter.collect();
      return serializer.serialize(resourceMetrics);
    },
    close: () => provider.shutdown(),
  };
}

/** Joins a call to the store with the call that made it, in the log and in traces. */
function tellCaller({ operation, keyKind, bytes, durationMs, outcome }: StoreCall): void {
  const call = currentCall();
  if (call === undefined) return;
  const failed = outcome !== "ok" && outcome !== "aborted" && outcome !== "notFound" && outcome !== "outOfRange";
  call.log[failed ? "warn" : "debug"]({ operation, kind: keyKind, bytes, durationMs: Math.round(durationMs), outcome }, "store call");
  if (!call.span.isRecording()) return;
  const end = Date.now();
  const attributes = { "store.kind_of_key": keyKind, "store.outcome": outcome, "store.bytes": bytes };
  const options = { kind: SpanKind.CLIENT, startTime: end - durationMs, attributes };
  trace.getTracer(TRACER).startSpan(`store ${operation}`, options, trace.setSpan(ROOT_CONTEXT, call.span)).end(end);
}
