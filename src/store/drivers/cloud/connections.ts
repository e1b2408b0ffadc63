/** Connections to a store: kept alive, and through a proxy where the environment names one. */
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { StoreError } from "../../driver.ts";
import { openRangeReader, type RangeReader } from "./ranges.ts";

/** Twice what the limit layer lets run at once, since a call that was ended early gives its connection back late. */
const MAX_SOCKETS = 128;
const PROXY_VARIABLES = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];

export interface Connections {
  readonly httpAgent: http.Agent;
  readonly httpsAgent: https.Agent;
  /** Nothing where a proxy may stand between, which only the agents know how to ask. */
  readonly ranges: RangeReader | undefined;
  close(): void;
}

/**
 * Connections that are kept alive. Proxies are Node's own (HTTPS_PROXY, HTTP_PROXY, NO_PROXY; Node 22.21, 24.5 or later);
 * `caFile` is a file of certificates that are trusted instead of the system's.
 */
export function openConnections(name: string, env: NodeJS.ProcessEnv, caFile: string | undefined): Connections {
  const options = { keepAlive: true, maxSockets: MAX_SOCKETS, proxyEnv: env };
  const ca = caFile === undefined ? undefined : readCertificates(name, caFile);
  const httpAgent = new http.Agent(options);
  const httpsAgent = new https.Agent(ca === undefined ? options : { ...options, ca });
  const ranges = PROXY_VARIABLES.some((variable) => env[variable]) ? undefined : openRangeReader(ca);
  return {
    httpAgent,
    httpsAgent,
    ranges,
    close() {
      httpAgent.destroy();
      httpsAgent.destroy();
      ranges?.close();
    },
  };
}

function readCertificates(name: string, file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    throw new StoreError("misconfigured", `${name}: the certificates that AWS_CA_BUNDLE names can't be read: ${(cause as Error).message}`, {
      cause,
    });
  }
}
