/** The store's layout has a version, and a store must be able to create an object only if it is not there. */
import { create } from "@bufbuild/protobuf";
import { FormatSchema } from "../../gen/ts/dstack/artifacts/storage/v1/storage_pb.ts";
import { StoreError } from "../store/driver.ts";
import { ArtifactsFailure } from "./errors.ts";
import { FORMAT_PREFIX, formatKey, lastSegment } from "./keys.ts";
import type { Objects } from "./objects.ts";

/** The version that this software reads and writes. */
export const FORMAT_VERSION = 1;

/** Refuses a store of another layout, or that ignores conditions; makes an empty one ours. */
export async function openFormat(objects: Objects, writer: string): Promise<void> {
  const versions: number[] = [];
  for await (const { key } of objects.list(FORMAT_PREFIX)) versions.push(Number(lastSegment(key)));
  if (versions.length === 0) return createFormat(objects, writer);
  const version = Math.max(...versions);
  if (version === FORMAT_VERSION) return;
  const { name } = objects.driver;
  throw new ArtifactsFailure(
    "FORMAT_UNKNOWN",
    `${name} has format ${version}, this version knows format ${FORMAT_VERSION}: use a version that knows it`,
    {
      version: String(version),
    },
  );
}

async function createFormat(objects: Objects, writer: string): Promise<void> {
  const format = create(FormatSchema, { version: FORMAT_VERSION, writer });
  await objects.put(formatKey(FORMAT_VERSION), FormatSchema, format);
  // The second must be told that it exists: a store that ignores the condition would lose tags and commits in races.
  const again = create(FormatSchema, { version: FORMAT_VERSION, writer: `${writer} (probe)` });
  if (await objects.put(formatKey(FORMAT_VERSION), FormatSchema, again)) {
    throw new StoreError(
      "unsupported",
      `${objects.driver.name} overwrites objects although it is told not to: it can't be used as a store`,
    );
  }
}
