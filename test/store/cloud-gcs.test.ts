import { openGcs } from "../../src/store/drivers/gcs.ts";
import { type GcsServer, startFakeGcs } from "../servers/gcs.ts";
import { freePort } from "../servers/process.ts";
import { cloudHarness, everyCall } from "./cloud-harness.ts";
import { describeDriver } from "./conformance.ts";

describeDriver(
  "gcs on fake-gcs-server",
  cloudHarness<GcsServer>({
    start: startFakeGcs,
    createBucket: (server, name) => server.createBucket(name),
    open: (_, bucket, prefix, url) => openGcs(`gs://${bucket}/${prefix}?endpoint=${url}`, {}),
    failures: (server) => [
      {
        when: "nothing listens at its endpoint",
        kind: "temporary",
        call: async () => (await openGcs(`gs://bucket?endpoint=http://127.0.0.1:${await freePort()}`, {})).list(""),
      },
      // Reads and deletions answer the same for a missing object here; Google's own answers to them: cloud-errors.test.ts.
      ...everyCall("its bucket doesn't exist", "misconfigured", () => openGcs("gs://no-such-bucket", server().env), ["put", "list"]),
    ],
  }),
);
