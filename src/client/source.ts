/** Bytes to upload that are in no file. */
import { ArtifactsUploadError } from "./errors.ts";

/** Bytes, text, or a stream of bytes: a `Readable`, a web stream, a generator. */
export type Source = Uint8Array | string | readonly Uint8Array[] | AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

export interface SourceItem {
  /** Where they go in the run. */
  readonly path: string;
  readonly type: "source";
  /** Undefined for a stream. */
  readonly size: number | undefined;
  readonly chunks: AsyncIterable<Uint8Array>;
}

/** Gives the source as the one thing to upload: bytes as often as is asked for, a stream until it was begun. */
export function sourceItems(path: string, source: Source): () => SourceItem[] {
  const parts = partsOf(source);
  if (parts !== undefined) {
    const size = parts.reduce((sum, part) => sum + part.length, 0);
    return () => [{ path, type: "source", size, chunks: chunksOf(parts) }];
  }
  let begun = false;
  return () => {
    if (begun) throw new ArtifactsUploadError("the connection was lost, and a stream can't be read again: upload it once more");
    const chunks = chunksOf(source as AsyncIterable<Uint8Array> | Iterable<Uint8Array>, () => {
      begun = true;
    });
    return [{ path, type: "source", size: undefined, chunks }];
  };
}

function partsOf(source: Source): readonly Uint8Array[] | undefined {
  if (typeof source === "string") return [Buffer.from(source)];
  if (source instanceof Uint8Array) return [source];
  return Array.isArray(source) ? source : undefined;
}

async function* chunksOf(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  onBegin?: () => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  onBegin?.();
  for await (const chunk of chunks) {
    if (!(chunk instanceof Uint8Array)) throw new ArtifactsUploadError(`the stream gave a ${typeof chunk} where bytes are needed`);
    yield chunk;
  }
}
