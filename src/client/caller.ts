/** Makes calls over one connection, which is made by the first call and made again when it was lost. */
import { ArtifactsService } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { untilAborted } from "../lib/abort.ts";
import { type Call, startCall } from "./call.ts";
import { type ConnectionOptions, createConnection, DEFAULT_TIMEOUT_MS } from "./connection.ts";

export interface CallerOptions extends ConnectionOptions {
  /** Bearer token. */
  readonly token?: string | undefined;
  /** Sent with every call. Names in lower case. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

export interface CallOptions {
  /** Cancels the call, which then fails with the signal's reason; the server sees a cancelled stream. */
  readonly signal?: AbortSignal | undefined;
  /**
   * How long the connection may stand still, in milliseconds: nothing sent, nothing received, no ping answered. The call then fails as
   * one whose connection was lost. Absent means 30 s.
   */
  readonly timeoutMs?: number | undefined;
  /** Sent with the call beside those of the connection. Names in lower case. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

export interface Caller {
  /** Begins a call of the service. Rejects when there is no connection. */
  call(method: string, options: CallOptions): Promise<Call>;
  /** Ends the connection; calls that run are cancelled. */
  close(): Promise<void>;
}

export function createCaller(options: CallerOptions): Caller {
  const connection = createConnection(options);
  const authorization = options.token === undefined ? {} : { authorization: `Bearer ${options.token}` };
  return {
    async call(method, { signal, timeoutMs = DEFAULT_TIMEOUT_MS, headers }) {
      signal?.throwIfAborted();
      const session = await untilAborted(connection.session(), signal);
      const stream = session.request({
        ":method": "POST",
        ":path": `/${ArtifactsService.typeName}/${method}`,
        "content-type": "application/grpc+proto",
        te: "trailers",
        "user-agent": "dstack-artifacts",
        ...authorization,
        ...options.headers,
        ...headers,
      });
      return startCall(session, stream, timeoutMs, signal);
    },
    close: () => connection.close(),
  };
}
