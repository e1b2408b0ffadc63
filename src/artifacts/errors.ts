import type { ErrorReason } from "../../gen/ts/dstack/artifacts/v1/errors_pb.ts";

/** Why a call failed: a name of the protocol's `ErrorReason`. */
export type Reason = Exclude<keyof typeof ErrorReason, "UNSPECIFIED">;

/**
 * A failure that a caller is told about. The message is one line that names what failed and says what to do; `metadata` holds what
 * `errors.proto` names for the reason.
 */
export class ArtifactsFailure extends Error {
  override readonly name = "ArtifactsFailure";
  readonly reason: Reason;
  readonly metadata: Readonly<Record<string, string>>;

  constructor(reason: Reason, message: string, metadata: Record<string, string> = {}, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
    this.metadata = metadata;
  }
}
