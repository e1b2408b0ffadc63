/** Addresses, and the sockets that listen at them. */
import { lstatSync, unlinkSync } from "node:fs";
import { chmod, lstat, mkdir } from "node:fs/promises";
import { connect, type ListenOptions, type Server } from "node:net";
import { dirname } from "node:path";
import { isMainThread } from "node:worker_threads";

export type Address =
  | { readonly kind: "unix"; readonly path: string; readonly url: string }
  | { readonly kind: "http" | "https"; readonly host: string; readonly port: number; readonly url: string };

const OWNER_ONLY_FOLDER = 0o700;
const OWNER_ONLY_SOCKET = 0o600;
const NOT_OWNER = 0o177;
const DEFAULT_PORTS = { http: 80, https: 443 };
/** Bytes of a path in sockaddr_un, without the NUL. */
const MAX_SOCKET_PATH_BYTES = 107;

/** @throws Error of one line that says what an address looks like. */
export function parseAddress(text: string): Address {
  const unix = /^unix:(?:\/\/)?(\/.*[^/])$/.exec(text);
  if (unix !== null) {
    const path = decodePath(unix[1] as string);
    if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES) {
      throw new Error(`${text}: a socket's path has at most ${MAX_SOCKET_PATH_BYTES} bytes: choose a shorter one`);
    }
    return { kind: "unix", path, url: `unix://${path}` };
  }
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const kind = url?.protocol === "http:" ? "http" : url?.protocol === "https:" ? "https" : undefined;
  if (url === undefined || kind === undefined || url.hostname === "" || url.pathname !== "/" || url.search !== "" || url.username !== "") {
    throw new Error(`${text} is no address to listen at: use unix:///path, http://host:port or https://host:port`);
  }
  const port = url.port === "" ? DEFAULT_PORTS[kind] : Number(url.port);
  return { kind, host: url.hostname.replace(/^\[|\]$/g, ""), port, url: text };
}

function decodePath(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/**
 * Listens, and gives the address with the port that it got.
 *
 * @throws Error of one line that names the address.
 */
export async function listen(server: Server, address: Address): Promise<string> {
  if (address.kind === "unix") {
    await prepareSocket(address.path, address.url);
    await listening(server, { path: address.path }, address.url);
    await chmod(address.path, OWNER_ONLY_SOCKET);
    return address.url;
  }
  const { host, port } = address;
  await listening(server, { host, port }, address.url);
  const bound = server.address();
  const actual = typeof bound === "object" && bound !== null ? bound.port : port;
  return `${address.kind}://${host.includes(":") ? `[${host}]` : host}:${actual}`;
}

function listening(server: Server, where: ListenOptions, url: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const problem = cause.code === "EADDRINUSE" ? "something else listens there" : cause.message;
      reject(new Error(`can't listen at ${url}: ${problem}`, { cause }));
    });
    // A Unix socket is made with the mode that the mask leaves; nobody else may get in between that and chmod.
    const mask = where.path !== undefined && isMainThread ? process.umask(NOT_OWNER) : undefined;
    try {
      server.listen(where, resolve);
    } finally {
      if (mask !== undefined) process.umask(mask);
    }
  });
}

/** Makes the socket's folder, and removes a socket that a dead server left; one that answers stays. */
async function prepareSocket(path: string, url: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: OWNER_ONLY_FOLDER });
  const found = await lstat(path, { bigint: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw new Error(`can't listen at ${url}: ${error.message}`, { cause: error });
  });
  if (found === undefined) return;
  if (!found.isSocket()) throw new Error(`can't listen at ${url}: ${path} exists and is no socket`);
  if (await answers(path)) throw new Error(`can't listen at ${url}: a server is listening there already`);
  // What was found dead stays dead, but another server may have replaced it by now. No step between the look and the removal.
  const now = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  if (now?.ino === found.ino && now.ctimeNs === found.ctimeNs) unlinkSync(path);
}

/** Whether somebody listens at a socket. In doubt (a full backlog, no permission) somebody does. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code !== "ECONNREFUSED" && error.code !== "ENOENT"));
  });
}
