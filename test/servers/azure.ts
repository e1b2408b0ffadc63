import { BlobServiceClient } from "@azure/storage-blob";
import { type RunningServer, startServer } from "./process.ts";

/** A server that speaks Azure Blob Storage's protocol. */
export interface AzureServer extends RunningServer {
  /** What a process needs in its environment to use it. */
  readonly env: NodeJS.ProcessEnv;
  readonly account: string;
  readonly key: string;
  createContainer(name: string): Promise<void>;
}

/** The account that every Azurite has: https://learn.microsoft.com/azure/storage/common/storage-use-azurite */
const ACCOUNT = "devstoreaccount1";
const KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

export async function startAzurite(): Promise<AzureServer> {
  const server = await startServer({
    name: "azurite",
    // The SDK speaks a newer version of the protocol than Azurite knows, without using what is new.
    args: (port) =>
      `--blobHost 127.0.0.1 --blobPort ${port} --inMemoryPersistence --skipApiVersionCheck --disableTelemetry --silent`.split(" "),
    healthPath: `/${ACCOUNT}?comp=list`,
    healthStatus: 403,
  });
  const endpoint = `${server.url}/${ACCOUNT}`;
  const connection = `DefaultEndpointsProtocol=http;AccountName=${ACCOUNT};AccountKey=${KEY};BlobEndpoint=${endpoint};`;
  return {
    ...server,
    url: endpoint,
    account: ACCOUNT,
    key: KEY,
    env: { AZURE_STORAGE_CONNECTION_STRING: connection },
    async createContainer(name) {
      await BlobServiceClient.fromConnectionString(connection).createContainer(name);
    },
  };
}
