/** Connections between a client and a store's server that are slow, thin or cut off: https://github.com/Shopify/toxiproxy */
import { startServer } from "./process.ts";

/** What happens to bytes on their way to the store (`upstream`) or back (`downstream`). */
export interface Toxic {
  readonly type: "latency" | "bandwidth" | "timeout" | "reset_peer" | "limit_data" | "slicer";
  readonly stream: "upstream" | "downstream";
  readonly attributes: Readonly<Record<string, number>>;
}

export interface Toxiproxy {
  /** Makes an address that leads to a server. */
  lead(to: string): Promise<ToxicLine>;
  stop(): Promise<void>;
}

export interface ToxicLine {
  readonly url: string;
  /** Strikes all connections, those that are open included, until it is taken off. */
  add(toxic: Toxic): Promise<void>;
  removeAll(): Promise<void>;
}

export async function startToxiproxy(): Promise<Toxiproxy> {
  const server = await startServer({
    name: "toxiproxy",
    args: (port) => `-host 127.0.0.1 -port ${port}`.split(" "),
    healthPath: "/version",
  });
  let lines = 0;

  async function ask(method: string, path: string, body?: object): Promise<Record<string, unknown>> {
    const response = await fetch(server.url + path, { method, ...(body ? { body: JSON.stringify(body) } : {}) });
    const text = await response.text();
    if (!response.ok) throw new Error(`toxiproxy: ${method} ${path}: ${text}`);
    return text === "" ? {} : (JSON.parse(text) as Record<string, unknown>);
  }

  return {
    async lead(to) {
      const name = `line${++lines}`;
      const { listen } = await ask("POST", "/proxies", { name, listen: "127.0.0.1:0", upstream: new URL(to).host, enabled: true });
      const added: string[] = [];
      return {
        url: `http://${listen}`,
        async add(toxic) {
          const toxicName = `toxic${added.length}`;
          await ask("POST", `/proxies/${name}/toxics`, { name: toxicName, toxicity: 1, ...toxic });
          added.push(toxicName);
        },
        async removeAll() {
          for (const toxicName of added.splice(0)) await ask("DELETE", `/proxies/${name}/toxics/${toxicName}`);
        },
      };
    },
    stop: () => server.stop(),
  };
}
