/** Takes what is put and gives as many bytes as a path says. */
import http from "node:http";
import type { AddressInfo } from "node:net";

const MIB = 1024 * 1024;
const block = Buffer.alloc(MIB);

const server = http.createServer((request, response) => {
  request.resume().on("end", () => {
    const length = Number(request.url?.slice(1));
    response.writeHead(200, { "content-length": length });
    for (let sent = 0; sent < length; sent += MIB) response.write(block.subarray(0, Math.min(MIB, length - sent)));
    response.end();
  });
});
server.listen(0, () => process.send?.((server.address() as AddressInfo).port));
