/** Tells which objects a manifest needs, without decoding its entries. */
import type { Manifest } from "../../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { decodeObjects } from "./block-decoder.ts";
import { readIndex } from "./layer.ts";
import type { ObjectReader } from "./types.ts";

/** Blocks that are being read at a time. */
const READS_AT_ONCE = 8;

/** The keys of all objects that a manifest needs: of its index, its blocks and its files' bytes; some of them more than once. */
export async function* manifestLocations({ content }: Manifest, reader: ObjectReader): AsyncGenerator<string, void, undefined> {
  if (content.case === "block") yield* decodeObjects(content.value);
  if (content.case !== "index") return;
  yield content.value.key;
  const reading: Promise<Uint8Array>[] = [];
  let last = "";
  for (const { location } of await readIndex(content.value, reader)) {
    if (!location) continue;
    if (location.key !== last) yield location.key;
    last = location.key;
    const read = reader.read(location);
    // A failure is met when it is this block's turn.
    read.catch(() => {});
    reading.push(read);
    if (reading.length === READS_AT_ONCE) yield* decodeObjects(await (reading.shift() as Promise<Uint8Array>));
  }
  for (const read of reading) yield* decodeObjects(await read);
}
