/**
 * The streams that work on uploads at this server. One that broke may still be storing what came, and whoever asks right then what is
 * persisted would be told too little, and send again what was whole.
 */
import { setImmediate as turn } from "node:timers/promises";
import { untilAborted } from "../../lib/abort.ts";

/** How long somebody who asks is kept waiting, in milliseconds: most stores take an object in less, and one in trouble holds up nobody. */
const LONGEST_WAIT_MS = 5_000;

export interface UploadStreams {
  /** Notes that a stream works on an upload, until the returned function is called. `broken` is aborted when nothing more comes. */
  begin(upload: { project: string; uploadId: string }, broken: AbortSignal): () => void;
  /**
   * Resolves when no broken stream works on the upload any more, or after 5 s. One that goes on isn't waited for.
   *
   * @throws the signal's reason as soon as it is aborted.
   */
  letGo(project: string, uploadId: string, signal: AbortSignal): Promise<void>;
}

interface UploadStream {
  readonly broken: AbortSignal;
  readonly ended: Promise<void>;
}

export function createUploadStreams(longestWaitMs = LONGEST_WAIT_MS): UploadStreams {
  const byUpload = new Map<string, Set<UploadStream>>();

  return {
    begin({ project, uploadId }, broken) {
      const key = keyOf(project, uploadId);
      let end = (): void => {};
      const stream = { broken, ended: new Promise<void>((resolve) => (end = resolve)) };
      const streams = byUpload.get(key) ?? new Set();
      byUpload.set(key, streams.add(stream));
      return () => {
        streams.delete(stream);
        if (streams.size === 0 && byUpload.get(key) === streams) byUpload.delete(key);
        end();
      };
    },

    async letGo(project, uploadId, signal) {
      const key = keyOf(project, uploadId);
      if (!byUpload.has(key)) return;
      // The end of a connection that came before this call may be among what this turn of the event loop still has to read.
      await turn();
      const broken = [...(byUpload.get(key) ?? [])].filter((stream) => stream.broken.aborted);
      if (broken.length === 0) return;
      const enough = new AbortController();
      const timer = setTimeout(() => enough.abort(), longestWaitMs);
      try {
        const ended = Promise.all(broken.map((stream) => stream.ended));
        await untilAborted(ended, AbortSignal.any([signal, enough.signal])).catch(() => signal.throwIfAborted());
      } finally {
        clearTimeout(timer);
      }
    },
  };
}

/** Projects' names have no `/`. */
function keyOf(project: string, uploadId: string): string {
  return `${project}/${uploadId}`;
}
