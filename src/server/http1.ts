/** The HTTP/1.1 end of connections: Connect and gRPC-Web, curl, probes and scrapes. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Limits } from "./options.ts";

export interface Http1 {
  /** Serves a connection; what was read of it already was put back. */
  accept(socket: Socket): void;
  /** Closes connections without a request, and the others after theirs. */
  drain(): void;
  destroy(): void;
}

/** Headers of one request; HTTP/2 has the same. */
const MAX_HEADERS = 64;

export function createHttp1(limits: Limits, onRequest: (request: IncomingMessage, response: ServerResponse) => void): Http1 {
  const server = createServer({
    maxHeaderSize: limits.maxHeaderBytes,
    headersTimeout: limits.handshakeTimeoutMs,
    connectionsCheckingInterval: Math.ceil(limits.handshakeTimeoutMs / 2),
    // A stream may take as long as it takes, while it moves.
    requestTimeout: 0,
    keepAliveTimeout: limits.idleTimeoutMs,
    noDelay: true,
  });
  server.maxHeadersCount = MAX_HEADERS;
  server.timeout = limits.idleTimeoutMs;
  // It never listens itself, and only then would it look for slow headers and know its idle connections.
  server.emit("listening");
  const sockets = new Set<Socket>();
  let draining = false;
  server.on("request", (request, response) => {
    if (draining) response.setHeader("connection", "close");
    onRequest(request, response);
  });
  server.on("clientError", (_, socket) => {
    if (socket.writable) socket.end("HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n");
    else socket.destroy();
  });

  return {
    accept(socket) {
      sockets.add(socket);
      socket.once("close", () => sockets.delete(socket));
      server.emit("connection", socket);
      socket.resume();
    },
    drain() {
      draining = true;
      server.closeIdleConnections();
    },
    destroy() {
      for (const socket of sockets) socket.destroy();
      // Ends its check of connections.
      server.close();
    },
  };
}
