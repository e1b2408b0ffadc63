/** Connections to a store: kept alive, and through a proxy where the environment names one. */
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { StoreError } from "../../driver.ts";

/** Twice what the limit layer lets run at once, since a call that was ended early gives its connection back late. */
const MAX_SOCKETS = 128;

export interface Agents {
  readonly httpAgent: http.Agent;
  readonly httpsAgent: https.Agent;
}

/**
 * Agents that keep connections alive. Proxies are Node's own (HTTPS_PROXY, HTTP_PROXY, NO_PROXY; Node 22.21, 24.5 or later);
 * `caFile` is a file of certificates that are trusted instead of the system's.
 */
export function openAgents(name: string, env: NodeJS.ProcessEnv, caFile: string | undefined): Agents {
  const options = { keepAlive: true, maxSockets: MAX_SOCKETS, proxyEnv: env };
  return {
    httpAgent: new http.Agent(options),
    httpsAgent: new https.Agent(caFile === undefined ? options : { ...options, ca: readCertificates(name, caFile) }),
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
