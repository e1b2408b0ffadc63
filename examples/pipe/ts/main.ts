/** A service that gives its artifacts to another one and takes the other's, without touching the disk. See ../README.md. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
// In a project of your own: "dstack-artifacts".
import { createClient } from "../../../src/index.ts";

// The environment says where its own server is.
const client = createClient();
const other = process.env["OTHER"] ?? "";

/** Sends a file as it comes out of the store; when that fails on the way, the broken connection tells the other end that this is not all. */
async function give(tag: string, artifactPath: string, response: ServerResponse): Promise<void> {
  const { bytes } = await client.list({ tag, prefix: artifactPath });
  response.setHeader("content-length", bytes);
  await pipeline(Readable.from(client.read({ tag, artifactPath }), { objectMode: false }), response);
}

/** Uploads a file of the other service while it comes. */
async function take(path: string, artifactPath: string, tag: string, response: ServerResponse): Promise<void> {
  const given = await fetch(other + path);
  if (!given.ok || given.body === null) throw new Error(`the other service: ${given.status} ${await given.text()}`);
  const uploaded = await client.uploadBytes({ artifactPath, source: given.body, tag });
  response.end(JSON.stringify({ run: uploaded.run, tag: uploaded.tag, bytes: uploaded.bytes }));
}

async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? "/", "http://localhost");
  const [, tag = "", ...path] = url.pathname.split("/").map(decodeURIComponent);
  try {
    if (request.method === "GET") await give(tag, path.join("/"), response);
    else await take(url.pathname, path.join("/"), url.searchParams.get("as") ?? "", response);
  } catch (error) {
    console.error(String(error));
    if (response.headersSent) response.destroy();
    else response.writeHead(502).end(`${error}\n`);
  }
}

const server = createServer((request, response) => void handle(request, response));
server.listen(Number(process.argv[2]), "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
