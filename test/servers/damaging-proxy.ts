/** Stands between a client and a store's server, and changes a byte of chosen objects on their way back. */
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";

export interface DamagingProxy {
  readonly url: string;
  /** Changes a byte in the middle of each answer to a GET whose path ends in `path`. */
  damage(path: string): void;
  stop(): Promise<void>;
}

export async function startDamagingProxy(target: string): Promise<DamagingProxy> {
  const { hostname, port } = new URL(target);
  const damaged: string[] = [];
  const server = http.createServer((request, response) => {
    const isDamaged =
      request.method === "GET" && damaged.some((path) => decodeURIComponent(request.url?.split("?", 1)[0] ?? "").endsWith(path));
    const { method, url: path, headers } = request;
    const onward = http.request({ hostname, port, method, path, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 0, answer.rawHeaders);
      const middle = Math.floor(Number(answer.headers["content-length"]) / 2);
      let position = 0;
      answer.on("data", (chunk: Buffer) => {
        const index = middle - position;
        if (isDamaged && index >= 0 && index < chunk.length) chunk[index] = (chunk[index] as number) ^ 0x20;
        position += chunk.length;
        response.write(chunk);
      });
      answer.on("end", () => response.end());
    });
    onward.on("error", () => response.destroy());
    request.pipe(onward);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    damage: (path) => void damaged.push(path),
    async stop() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
