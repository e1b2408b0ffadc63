/** Where servers of the roles listen. */
import { mkdtemp, rm } from "node:fs/promises";
import type { Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Endpoint {
  readonly url: string;
  close(): Promise<void>;
}

/** Listens on a Unix socket, or on a free port of loopback with `tcp`. */
export async function listen(server: Server, tcp: boolean): Promise<Endpoint> {
  if (tcp) {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    return { url: `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`, close: async () => {} };
  }
  const folder = await mkdtemp(join(tmpdir(), "bench-"));
  const path = join(folder, "s.sock");
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return { url: `unix://${path}`, close: () => rm(folder, { recursive: true, force: true }) };
}
