/** Every call of the service, put together. */
import type { ServiceImpl } from "@connectrpc/connect";
import type { ArtifactsService } from "../../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import type { Served } from "./context.ts";
import { copyHandlers } from "./copy.ts";
import { downloadHandlers } from "./download.ts";
import { entriesHandlers } from "./entries.ts";
import { gcHandlers } from "./gc.ts";
import { infoHandlers } from "./info.ts";
import { runsHandlers } from "./runs.ts";
import { tagsHandlers } from "./tags.ts";
import { uploadHandlers } from "./upload.ts";
import { uploadsHandlers } from "./uploads.ts";
import { verifyHandlers } from "./verify.ts";

export function artifactsService(served: Served): ServiceImpl<typeof ArtifactsService> {
  return {
    ...uploadHandlers(served),
    ...uploadsHandlers(served),
    ...downloadHandlers(served),
    ...entriesHandlers(served),
    ...runsHandlers(served),
    ...tagsHandlers(served),
    ...copyHandlers(served),
    ...verifyHandlers(served),
    ...gcHandlers(served),
    ...infoHandlers(served),
  };
}
