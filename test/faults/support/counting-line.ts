/** A line between clients and a server on Unix sockets that counts what goes to the server, and outlives both. */
import { connect, createServer, type Socket } from "node:net";

export interface CountingLine {
  /** Bytes that clients have sent. */
  readonly sent: number;
  /** Called whenever bytes have been sent. */
  onSent: (() => void) | undefined;
  close(): Promise<void>;
}

export async function openLine(from: string, to: string): Promise<CountingLine> {
  const sockets = new Set<Socket>();
  const line = {
    sent: 0,
    onSent: undefined as (() => void) | undefined,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
  const server = createServer((client) => {
    const upstream = connect(to);
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket);
      socket.on("error", () => other.destroy());
      socket.on("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    client.on("data", (bytes) => {
      line.sent += bytes.length;
      line.onSent?.();
    });
    client.pipe(upstream);
    upstream.pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(from, resolve));
  return line;
}
