import { openAzure } from "../../src/store/drivers/azure.ts";
import { type AzureServer, startAzurite } from "../servers/azure.ts";
import { freePort } from "../servers/process.ts";
import { cloudHarness, everyCall } from "./cloud-harness.ts";
import { describeDriver } from "./conformance.ts";

const WRONG_KEY = Buffer.alloc(64, 1).toString("base64");
const keyOf = ({ account, key }: AzureServer) => ({ AZURE_STORAGE_ACCOUNT: account, AZURE_STORAGE_KEY: key });

describeDriver(
  "azure on Azurite",
  cloudHarness<AzureServer>({
    start: startAzurite,
    createBucket: (server, name) => server.createContainer(name),
    open: (server, container, prefix, url) => openAzure(`az://${container}/${prefix}?endpoint=${url}`, keyOf(server)),
    failures: (server) => [
      {
        when: "nothing listens at its endpoint",
        kind: "temporary",
        call: async () => (await openAzure(`az://box?endpoint=http://127.0.0.1:${await freePort()}`, keyOf(server()))).list(""),
      },
      ...everyCall("its container doesn't exist", "misconfigured", () => openAzure("az://no-such-container", server().env)),
      ...everyCall("its key is wrong", "denied", () =>
        openAzure(`az://conformance?endpoint=${server().url}`, { ...keyOf(server()), AZURE_STORAGE_KEY: WRONG_KEY }),
      ),
    ],
  }),
);
