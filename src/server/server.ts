/**
 * The server: sockets, TLS, protocols and calls put together. `cli/serve` starts it; it calls `artifacts` and knows no store.
 *
 * A connection comes in at a socket (listen.ts), is unwrapped (tls.ts), told apart (sniff.ts) and served (http1.ts, http2.ts); each of its
 * requests is let in or refused (requests.ts), and answered by the hot path (transfers.ts) or by connect (connect.ts), which share the
 * handlers in rpc/.
 */

import { createServer, type Server, type Socket } from "node:net";
import type { ServiceImpl } from "@connectrpc/connect";
import { ArtifactsService } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { ServerReflection } from "../../gen/ts/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionAlpha } from "../../gen/ts/grpc/reflection/v1alpha/reflection_pb.ts";
import { Health } from "../../gen/ts/health/v1/health_pb.ts";
import { createCalls } from "./calls.ts";
import { createConnectHandler } from "./connect.ts";
import { healthService, watchReadiness } from "./health.ts";
import { createHttp1, type Http1 } from "./http1.ts";
import { createHttp2, type Http2 } from "./http2.ts";
import { type Address, listen, parseAddress } from "./listen.ts";
import { createMetrics } from "./metrics.ts";
import { createOperations } from "./operations.ts";
import { DEFAULT_GRACE_MS, DEFAULT_LIMITS, type Limits, type ServerOptions } from "./options.ts";
import { reflectionService } from "./reflection.ts";
import { createRequests, type Requests } from "./requests.ts";
import { artifactsService } from "./rpc/service.ts";
import { createUploadStreams } from "./rpc/upload-streams.ts";
import { sniff } from "./sniff.ts";
import { createTlsServer, type TlsServer } from "./tls.ts";
import type { Token } from "./tokens.ts";
import { createTransfers } from "./transfers.ts";

export interface RunningServer {
  /** URLs, in the order of `listen`, with the ports that were given. */
  readonly addresses: readonly string[];
  /**
   * Takes no new connections and calls, lets those that run go on for `graceMs`, then ends them in a way that can be taken up again.
   * Never rejects; called again, it waits for the same end.
   */
  close(): Promise<void>;
  /** Takes these tokens, at least one, in place of those before, for requests that come from now on. */
  replaceTokens(tokens: readonly Token[]): void;
}

/** How long calls that were told to end may take to persist what they have, in milliseconds. */
const ABORT_GRACE_MS = 5_000;

/** What serves connections of one kind. */
interface Ends {
  readonly http1: Http1;
  readonly http2: Http2;
}

/** @throws Error of one line that says which address, token or file is wrong; nothing listens then. */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { artifacts, logger, graceMs = DEFAULT_GRACE_MS } = options;
  let { tokens = [] } = options;
  const limits: Limits = { ...DEFAULT_LIMITS, ...options.limits };
  const addresses = options.listen.map(parseAddress);
  checkAddresses(addresses, options);

  const metrics = options.metrics ?? createMetrics();
  const calls = createCalls(logger, metrics);
  const readiness = watchReadiness(artifacts, limits, logger);
  const stopping = new AbortController();
  const health = healthService(readiness, stopping.signal);
  const served = { ...options, uploadStreams: createUploadStreams() };
  const connect = createConnectHandler((router) => {
    router.service(ArtifactsService, artifactsService(served));
    router.service(Health, health);
    router.service(ServerReflection, reflectionService());
    router.service(ServerReflectionAlpha, reflectionService() as unknown as ServiceImpl<typeof ServerReflectionAlpha>);
  });
  const shared = {
    calls,
    connect,
    operations: createOperations(readiness, metrics),
    hotPath: createTransfers(served),
    limits,
    stopping: stopping.signal,
  };
  const endsFor = ({ onStream, onRequest }: Requests): Ends => ({
    http1: createHttp1(limits, onRequest),
    http2: createHttp2(limits, logger, onStream),
  });
  // Whoever reaches a Unix socket is its owner. Two ends, so that no request's address decides what it may do.
  const owner = endsFor(createRequests(shared, () => []));
  const network = endsFor(createRequests(shared, () => tokens));
  const ends = [owner, network];
  const servers: Server[] = [];
  let tls: TlsServer | undefined;

  function accept(socket: Socket, { http1, http2 }: Ends): void {
    metrics.connections(1);
    socket.once("close", () => metrics.connections(-1));
    socket.on("error", (error) => logger.debug({ err: error }, "connection failed"));
    sniff(socket, limits.handshakeTimeoutMs, {
      http1: (each) => http1.accept(each),
      http2(each) {
        // A client that has said all it will is gone; only HTTP/1.1 knows half of a connection.
        each.allowHalfOpen = false;
        http2.accept(each);
      },
    });
  }

  async function open(address: Address): Promise<string> {
    if (address.kind === "https") {
      if (options.tls === undefined) throw new Error(`${address.url} needs --tls-cert and --tls-key`);
      tls ??= await createTlsServer(options.tls, limits, logger, (socket) => accept(socket, network));
    }
    const secure = address.kind === "https" ? tls : undefined;
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      if (secure === undefined) accept(socket, address.kind === "unix" ? owner : network);
      else secure.server.emit("connection", socket);
    });
    server.maxConnections = limits.maxConnections;
    servers.push(server);
    return listen(server, address);
  }

  async function stop(): Promise<void> {
    // Who couldn't even begin has its error to tell, and no end of a life.
    const level = ready ? "info" : "debug";
    logger[level]({ running: calls.running }, "stopping");
    stopping.abort();
    readiness.stop();
    for (const server of servers) if (server.listening) server.close();
    for (const { http1, http2 } of ends) {
      http1.drain();
      http2.drain();
    }
    if (!(await endedWithin(calls.ended(), graceMs))) {
      logger.warn({ running: calls.running }, "the grace period is over: calls that still run are ended");
      calls.abortAll("its grace period is over");
      await endedWithin(calls.ended(), ABORT_GRACE_MS);
    }
    for (const { http1, http2 } of ends) {
      http1.destroy();
      http2.destroy();
    }
    tls?.close();
    if (options.metrics === undefined)
      await metrics.close().catch((error: unknown) => logger.warn({ err: error }, "metrics did not close"));
    logger[level]("stopped");
  }

  const urls: string[] = [];
  let stopped: Promise<void> | undefined;
  let ready = false;
  const close = () => (stopped ??= stop());
  try {
    for (const address of addresses) urls.push(await open(address));
    ready = true;
  } catch (error) {
    await close();
    throw error;
  }
  return {
    addresses: urls,
    close,
    replaceTokens(next) {
      // None would let everybody in.
      if (next.length === 0) throw new Error("no tokens to replace the old ones with");
      tokens = next;
    },
  };
}

function checkAddresses(addresses: readonly Address[], { tokens = [], tls }: ServerOptions): void {
  if (addresses.length === 0) throw new Error("no address to listen at: give --listen");
  for (const { kind, url } of addresses) {
    if (kind !== "unix" && tokens.length === 0) throw new Error(`${url} needs a token: set DSTACK_ARTIFACTS_TOKEN or give --token-file`);
    if (kind === "https" && tls === undefined) throw new Error(`${url} needs --tls-cert and --tls-key`);
  }
}

/** Whether `end` came within the time. */
async function endedWithin(end: Promise<void>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, ms, false);
  });
  try {
    return await Promise.race([end.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}
