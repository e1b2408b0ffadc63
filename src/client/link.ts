/** A client's way to its server, with one policy for trying again. */
import { type CallOptions, type Client, createClient } from "@connectrpc/connect";
import { ArtifactsService } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { createCaller } from "./caller.ts";
import { createFileWriter, type FileWriter } from "./file-writer.ts";
import { createPatience, retrying } from "./retry.ts";
import type { Settings } from "./settings.ts";
import type { Transfers } from "./transfers.ts";
import { createHttp2Transfers } from "./transfers-http2.ts";
import { createHttp2Transport } from "./transport.ts";

export type Service = Client<typeof ArtifactsService>;

export interface Link {
  readonly settings: Settings;
  readonly transfers: Transfers;
  readonly service: Service;
  /** Writes the small files of downloads. */
  readonly files: FileWriter;
  /**
   * Makes a call that is safe to make again, and makes it again while the connection is lost or the server asks for patience. A server
   * that can't be reached at first is an error at once, unless `reached` says that it answered before in the same affair.
   */
  call<T>(
    make: (service: Service, options: CallOptions) => Promise<T>,
    options?: { signal?: AbortSignal | undefined; reached?: boolean },
  ): Promise<T>;
  close(): Promise<void>;
}

export function openLink(settings: Settings): Link {
  const caller = createCaller(settings);
  const service = createClient(ArtifactsService, createHttp2Transport(caller, settings.timeoutMs));
  const transfers = createHttp2Transfers(settings, caller);
  const files = createFileWriter();
  return {
    settings,
    transfers,
    service,
    files,
    call: (make, { signal, reached = false } = {}) =>
      retrying(createPatience(settings.timeoutMs, reached), () => make(service, signal ? { signal } : {}), signal),
    async close() {
      await transfers.close();
      files.close();
    },
  };
}
