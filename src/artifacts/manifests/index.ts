/**
 * Lists of entries, of any size: written, merged, read. A view is the merge of layers, each a manifest; a manifest is sorted blocks with an
 * index. Called by the rest of the artifacts; knows objects only by the two functions that read and write them.
 */

export { foldSnapshot } from "./fold.ts";
export { manifestLocations } from "./locations.ts";
export { narrowed } from "./narrowed.ts";
export type { ObjectReader, ObjectWriter, StoredEntry, StoredExtent } from "./types.ts";
export { openView, type View, withoutExtents } from "./view.ts";
export { createManifestWriter } from "./writer.ts";
