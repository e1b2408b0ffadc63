/**
 * Lists of entries, of any size: written, merged, read. A view is the merge of layers, each a manifest; a manifest is sorted blocks with an
 * index. Called by the rest of the artifacts; knows objects only by the two functions that read and write them.
 */
import { fromBinary } from "@bufbuild/protobuf";
import { IndexSchema, type Manifest } from "../../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { openLayer } from "./layer.ts";
import type { ObjectReader } from "./types.ts";

export { type FoldInput, foldSnapshot } from "./fold.ts";
export type { ObjectReader, ObjectWriter, StoredEntry, StoredExtent } from "./types.ts";
export { openView, type View } from "./view.ts";
export { createManifestWriter } from "./writer.ts";

/** The keys of all objects that a manifest needs, some of them more than once. */
export async function* manifestLocations(manifest: Manifest, reader: ObjectReader): AsyncGenerator<string, void, undefined> {
  if (manifest.content.case === "index") {
    const index = manifest.content.value;
    yield index.key;
    for (const { location } of fromBinary(IndexSchema, await reader.read(index)).blocks) if (location) yield location.key;
  }
  const layer = await openLayer(manifest, reader);
  for (let i = 0; i < layer.blocks.length; i++) {
    let last = "";
    for (const entry of await layer.block(i)) {
      for (const { object } of entry.extents) {
        if (object !== last) yield object;
        last = object;
      }
    }
  }
}
