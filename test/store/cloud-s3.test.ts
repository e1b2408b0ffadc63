import { openS3 } from "../../src/store/drivers/s3.ts";
import { retry } from "../../src/store/layers/retry.ts";
import { freePort } from "../servers/process.ts";
import { type S3Server, startLocalstack, startVersitygw } from "../servers/s3.ts";
import { cloudHarness, everyCall } from "./cloud-harness.ts";
import type { DriverHarness, FailingCall } from "./conformance.ts";
import { describeDriver } from "./conformance.ts";

interface Peculiarities {
  /** Calls that only this server fails. */
  readonly failures?: (server: () => S3Server) => FailingCall[];
  /** Of the store's URL. */
  readonly parameters?: string;
}

function s3Harness(start: () => Promise<S3Server>, { failures = () => [], parameters = "" }: Peculiarities = {}): DriverHarness {
  return cloudHarness<S3Server>({
    start,
    createBucket: (server, name) => server.createBucket(name),
    open: async (server, bucket, prefix, url) => retry(await openS3(`s3://${bucket}/${prefix}?endpoint=${url}${parameters}`, server.env)),
    failures: (server) => [
      {
        when: "nothing listens at its endpoint",
        kind: "temporary",
        call: async () => (await openS3(`s3://bucket?endpoint=http://127.0.0.1:${await freePort()}`, server().env)).list(""),
      },
      ...everyCall("its bucket doesn't exist", "misconfigured", () => openS3("s3://no-such-bucket", server().env)),
      ...failures(server),
    ],
  });
}

// Both servers now and then fail a call that is all right, as temporary (test/servers/README.md has each with what was seen), so what
// retries temporary failures belongs to these harnesses.
describeDriver(
  "s3 on versitygw",
  s3Harness(startVersitygw, {
    failures: (server) => [
      ...everyCall("its secret is wrong", "denied", () => openS3("s3://conformance", { ...server().env, AWS_SECRET_ACCESS_KEY: "wrong" })),
      // LocalStack knows every access key.
      ...everyCall("its access key isn't known", "denied", () =>
        openS3("s3://conformance", { ...server().env, AWS_ACCESS_KEY_ID: "AKIAUNKNOWN" }),
      ),
    ],
  }),
);

describeDriver("s3 on LocalStack", s3Harness(startLocalstack));

describeDriver("s3 without S3's own checksums", s3Harness(startLocalstack, { parameters: "&checksum=when_required" }));
