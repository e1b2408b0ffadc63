/** TLS by files that may be replaced while the server runs. */
import { readFile } from "node:fs/promises";
import { createServer, type SecureContextOptions, type Server, type TLSSocket } from "node:tls";
import type { Logger } from "pino";
import type { Limits, TlsFiles } from "./options.ts";

export interface TlsServer {
  readonly server: Server;
  /** Stops looking at the files. */
  close(): void;
}

/** @throws Error of one line that names the file which can't be read or used. */
export async function createTlsServer(
  files: TlsFiles,
  limits: Limits,
  logger: Logger,
  onSocket: (socket: TLSSocket) => void,
): Promise<TlsServer> {
  let current = await readFiles(files);
  const mutual = files.clientCaFile !== undefined;
  let server: Server;
  try {
    server = createServer({
      ...current,
      ALPNProtocols: ["h2", "http/1.1"],
      minVersion: "TLSv1.2",
      handshakeTimeout: limits.handshakeTimeoutMs,
      requestCert: mutual,
      rejectUnauthorized: mutual,
    });
  } catch (cause) {
    throw new Error(`TLS: ${files.certFile} and ${files.keyFile} can't be used: ${messageOf(cause)}`, { cause });
  }
  server.on("secureConnection", onSocket);
  server.on("tlsClientError", (error, socket) => {
    logger.debug({ err: error }, "TLS handshake failed");
    socket.destroy();
  });

  let complained = "";
  async function reload(): Promise<void> {
    try {
      const next = await readFiles(files);
      if (same(current, next)) return;
      // While only one of two files is replaced they don't match, and this throws; the next look finds both.
      server.setSecureContext({ ...next, minVersion: "TLSv1.2" });
      current = next;
      complained = "";
      logger.info({ certFile: files.certFile }, "TLS files were replaced: new connections use them");
    } catch (error) {
      if (complained !== messageOf(error)) logger.warn({ err: error }, "TLS files changed and can't be used: going on with the old ones");
      complained = messageOf(error);
    }
  }
  const timer = setInterval(() => void reload(), limits.tlsReloadMs);
  timer.unref();
  return { server, close: () => clearInterval(timer) };
}

type Contents = Pick<SecureContextOptions, "cert" | "key" | "ca">;

async function readFiles({ certFile, keyFile, clientCaFile }: TlsFiles): Promise<Contents> {
  const [cert, key, ca] = await Promise.all([read(certFile), read(keyFile), clientCaFile === undefined ? undefined : read(clientCaFile)]);
  return { cert, key, ...(ca === undefined ? {} : { ca }) };
}

async function read(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw new Error(`TLS: ${path} can't be read: ${messageOf(cause)}`, { cause });
  }
}

function same(a: Contents, b: Contents): boolean {
  return a.cert === b.cert && a.key === b.key && a.ca === b.ca;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
