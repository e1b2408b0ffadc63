/** Finds out which protocol a connection speaks by its first bytes, so that HTTP/2 and HTTP/1.1 share a port. */
import type { Socket } from "node:net";

/** What every HTTP/2 connection begins with (RFC 9113, section 3.4); no method of HTTP/1.1 begins so. */
const PREFACE = Buffer.from("PRI ");

/** Hands the socket on as if nothing had been read of it, or closes it when its first bytes don't come in time. */
export function sniff(socket: Socket, timeoutMs: number, take: { http1(socket: Socket): void; http2(socket: Socket): void }): void {
  let seen: Buffer = Buffer.alloc(0);
  const timer = setTimeout(() => socket.destroy(), timeoutMs);
  const stop = () => {
    clearTimeout(timer);
    socket.off("data", onData).off("end", onEnd).off("close", stop);
  };
  const onEnd = () => {
    stop();
    socket.destroy();
  };
  const onData = (bytes: Buffer) => {
    seen = seen.length === 0 ? bytes : Buffer.concat([seen, bytes]);
    const compared = Math.min(seen.length, PREFACE.length);
    const same = seen.compare(PREFACE, 0, compared, 0, compared) === 0;
    if (same && compared < PREFACE.length) return;
    stop();
    socket.pause();
    socket.unshift(seen);
    if (same) take.http2(socket);
    else take.http1(socket);
  };
  socket.on("data", onData).on("end", onEnd).on("close", stop);
}
