/** Checks of every byte. */
import { create } from "@bufbuild/protobuf";
import { type VerifyResponse, VerifyResponseSchema } from "../../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import type { VerifyEvent } from "../../artifacts/types.ts";
import { callOf, type Handlers, projectOf, type Served } from "./context.ts";
import { toReference } from "./convert.ts";

export function verifyHandlers(served: Served): Handlers<"verify"> {
  return {
    async *verify(request, context) {
      const call = callOf(context);
      const project = projectOf(served, call, request.project);
      for await (const event of served.artifacts.verify(project, toReference(request.reference), { signal: call.signal })) {
        yield responseOf(event);
      }
    },
  };
}

function responseOf(event: VerifyEvent): VerifyResponse {
  switch (event.type) {
    case "damaged":
      return create(VerifyResponseSchema, { message: { case: "damaged", value: { path: event.path, problem: event.problem } } });
    case "finish": {
      const { files, bytes, damaged } = event;
      const value = { files: BigInt(files), bytes: BigInt(bytes), damaged: BigInt(damaged) };
      return create(VerifyResponseSchema, { message: { case: "finish", value } });
    }
    case "progress": {
      const { files, bytes, totalFiles, totalBytes } = event;
      const value = { files: BigInt(files), bytes: BigInt(bytes), totalFiles: BigInt(totalFiles), totalBytes: BigInt(totalBytes) };
      return create(VerifyResponseSchema, { message: { case: "progress", value } });
    }
  }
}
