/** A client's way to its server: unary calls and transfers, with one policy for trying again. */
import { connect as connectSocket } from "node:net";
import { type Client, Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { ArtifactsService } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { MAX_MESSAGE_BYTES } from "../wire/limits.ts";
import { createPatience } from "./retry.ts";
import type { Settings } from "./settings.ts";
import type { Transfers } from "./transfers.ts";
import { createHttp2Transfers } from "./transfers-http2.ts";

export interface Link {
  readonly settings: Settings;
  readonly transfers: Transfers;
  readonly service: Client<typeof ArtifactsService>;
  /** Tries a call again while the connection is lost or the server asks for patience; only for calls that are safe to send again. */
  retrying<T>(call: () => Promise<T>, signal?: AbortSignal): Promise<T>;
  close(): Promise<void>;
}

/** Listings of 10,000 long paths are larger than other messages. */
const MAX_ANSWER_BYTES = 8 * MAX_MESSAGE_BYTES;

export function openLink(settings: Settings): Link {
  const { url, token, tls } = settings;
  const target = new URL(url);
  const isSocket = target.protocol === "unix:";
  const baseUrl = isSocket ? "http://localhost" : target.origin;
  const sessionOptions = isSocket ? { createConnection: () => connectSocket(decodeURIComponent(target.pathname)) } : tls;
  const sessionManager = new Http2SessionManager(baseUrl, undefined, sessionOptions);
  const authorize: Interceptor = (next) => async (request) => {
    if (token !== undefined) request.header.set("authorization", `Bearer ${token}`);
    try {
      return await next(request);
    } catch (error) {
      throw asUnavailable(error);
    }
  };
  const transport = createGrpcTransport({
    baseUrl,
    sessionManager,
    interceptors: [authorize],
    readMaxBytes: MAX_ANSWER_BYTES,
    acceptCompression: [],
  });
  const transfers = createHttp2Transfers({ url, token, tls });
  return {
    settings,
    transfers,
    service: createClient(ArtifactsService, transport),
    async retrying(call, signal) {
      const patience = createPatience(settings.timeoutMs);
      for (;;) {
        try {
          return await call();
        } catch (error) {
          await patience.wait(error, signal);
        }
      }
    },
    async close() {
      sessionManager.abort();
      await transfers.close();
    },
  };
}

/** connect-node knows some socket errors (a Unix socket's ENOENT, say) as internal ones; here all of them say Unavailable, as in transfers. */
function asUnavailable(error: unknown): unknown {
  const { cause } = ConnectError.from(error);
  const isSocketError = cause instanceof Error && "syscall" in cause;
  return isSocketError ? new ConnectError(cause.message, Code.Unavailable, undefined, undefined, cause) : error;
}
