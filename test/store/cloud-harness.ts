/** Puts a cloud's driver and a real server of its protocol together for the conformance suite. */
import { crc32cOfParts } from "../../src/lib/crc32c.ts";
import type { Driver } from "../../src/store/driver.ts";
import { type HttpProxy, startHttpProxy } from "../servers/http-proxy.ts";
import type { DriverHarness, FailingCall } from "./conformance.ts";

export interface CloudServer {
  /** Where it listens. */
  readonly url: string;
  stop(): Promise<void>;
}

export interface CloudHarnessSpec<Server extends CloudServer> {
  readonly start: () => Promise<Server>;
  readonly createBucket: (server: Server, name: string) => Promise<void>;
  /** Opens a store in `bucket`, its keys under `prefix`, through the server's address or another that leads there. */
  readonly open: (server: Server, bucket: string, prefix: string, url: string) => Promise<Driver>;
  readonly failures: (server: () => Server) => readonly [FailingCall, ...FailingCall[]];
}

const BUCKET = "conformance";

export function cloudHarness<Server extends CloudServer>(spec: CloudHarnessSpec<Server>): DriverHarness {
  let server: Server | undefined;
  let proxy: HttpProxy | undefined;
  const damaged: string[] = [];
  const running = (): Server => {
    if (server === undefined) throw new Error("the server isn't started");
    return server;
  };
  return {
    async start() {
      server = await spec.start();
      await spec.createBucket(server, BUCKET);
      proxy = await startHttpProxy(server.url);
      proxy.onRequest = ({ method, path }) =>
        method === "GET" && damaged.some((key) => path.endsWith(key)) ? { kind: "damageAnswer" } : undefined;
    },
    open: (space) => spec.open(running(), BUCKET, space, running().url),
    async openDamageable(space) {
      const through = proxy as HttpProxy;
      const { pathname } = new URL(running().url);
      return {
        driver: await spec.open(running(), BUCKET, space, through.url + (pathname === "/" ? "" : pathname)),
        damage: async (key) => void damaged.push(`${space}/${key}`),
      };
    },
    failures: spec.failures(running),
    async stop() {
      await proxy?.stop();
      await server?.stop();
    },
  };
}

/** The kinds of calls, or those of them that are named, on a driver that can't work. */
export function everyCall(
  when: string,
  kind: FailingCall["kind"],
  open: () => Promise<Driver>,
  only: readonly string[] = ["put", "read", "range", "list", "delete"],
): FailingCall[] {
  const body = [Buffer.from("x")];
  const calls: readonly [string, (driver: Driver) => Promise<unknown>][] = [
    ["put", (driver) => driver.putIfAbsent("a/b", body, { crc32c: crc32cOfParts(body) })],
    ["read", (driver) => driver.read("a/b", undefined)],
    ["range", (driver) => driver.read("a/b", { offset: 0, length: 1 })],
    ["list", (driver) => driver.list("a/")],
    ["delete", (driver) => driver.delete("a/b")],
  ];
  return calls
    .filter(([name]) => only.includes(name))
    .map(([name, call]) => ({
      when: `${when} (${name})`,
      kind,
      async call() {
        const driver = await open();
        try {
          await call(driver);
        } finally {
          await driver.close();
        }
      },
    }));
}
