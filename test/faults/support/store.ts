/** The artifacts of a folder, with settings that make little data go through all there is to the format. */
import { type ArtifactsOptions, createArtifacts } from "../../../src/artifacts/artifacts.ts";
import type { Artifacts } from "../../../src/artifacts/types.ts";
import type { Driver } from "../../../src/store/driver.ts";
import { openFile } from "../../../src/store/drivers/file.ts";
import { composeLayers } from "../../../src/store/layers/index.ts";

const KIB = 1024;

export const SMALL_SETTINGS = { dataObjectBytes: 64 * KIB, commitsPerSnapshot: 2 };

export async function openFolder(
  root: string,
  options: ArtifactsOptions = {},
  wrap: (driver: Driver) => Driver = (driver) => driver,
): Promise<Artifacts> {
  return createArtifacts(composeLayers(wrap(await openFile(root))), { settings: SMALL_SETTINGS, ...options });
}
