import { StoreError } from "../../driver.ts";
import { parseCloudUrl } from "../cloud/url.ts";

/** What an Azure store's URL says, with what the environment adds. */
export interface AzureSettings {
  readonly name: string;
  readonly container: string;
  readonly prefix: string;
  readonly access: AzureAccess;
  readonly accessTier: string | undefined;
  readonly encryptionScope: string | undefined;
}

export type AzureAccess =
  | { readonly by: "connectionString"; readonly connectionString: string }
  | { readonly by: "key"; readonly endpoint: string; readonly account: string; readonly key: string }
  | { readonly by: "defaultChain"; readonly endpoint: string };

const PARAMETERS = ["account", "endpoint", "access_tier", "encryption_scope"] as const;

export function parseAzureUrl(text: string, env: NodeJS.ProcessEnv): AzureSettings {
  const url = parseCloudUrl(text, { scheme: "az", bucketWord: "container", parameters: PARAMETERS });
  return {
    name: url.name,
    container: url.bucket,
    prefix: url.prefix,
    access: findAccess(url.name, url.parameter("account"), url.address("endpoint"), env),
    accessTier: url.parameter("access_tier"),
    encryptionScope: url.parameter("encryption_scope"),
  };
}

function findAccess(name: string, accountParameter: string | undefined, endpoint: string | undefined, env: NodeJS.ProcessEnv): AzureAccess {
  const connectionString = env.AZURE_STORAGE_CONNECTION_STRING;
  if (connectionString) {
    const account = /(?:^|;)\s*AccountName=([^;]*)/i.exec(connectionString)?.[1];
    if (accountParameter !== undefined && account !== undefined && account !== accountParameter) {
      throw new StoreError(
        "misconfigured",
        `${name}: the parameter account is ${accountParameter}, but AZURE_STORAGE_CONNECTION_STRING is for ${account}`,
      );
    }
    if (endpoint === undefined) return { by: "connectionString", connectionString };
    const others = connectionString.split(";").filter((part) => part !== "" && !/^\s*BlobEndpoint=/i.test(part));
    const own = `BlobEndpoint=${withAccount(endpoint, account ?? accountParameter)}`;
    return { by: "connectionString", connectionString: [...others, own].join(";") };
  }
  const account = accountParameter ?? (env.AZURE_STORAGE_ACCOUNT || undefined);
  if (account === undefined && endpoint === undefined) {
    const ways = "the parameter account, AZURE_STORAGE_ACCOUNT, or AZURE_STORAGE_CONNECTION_STRING";
    throw new StoreError("misconfigured", `${name}: no storage account is named: give ${ways}`);
  }
  if (account !== undefined && !/^[a-z0-9-]+$/i.test(account)) {
    throw new StoreError("misconfigured", `${name}: a storage account's name has only letters and digits`);
  }
  const address = endpoint === undefined ? `https://${account}.blob.core.windows.net` : withAccount(endpoint, account);
  const key = env.AZURE_STORAGE_KEY;
  if (!key) return { by: "defaultChain", endpoint: address };
  if (account === undefined) {
    throw new StoreError(
      "misconfigured",
      `${name}: AZURE_STORAGE_KEY needs an account: give the parameter account, or AZURE_STORAGE_ACCOUNT`,
    );
  }
  return { by: "key", endpoint: address, account, key };
}

/** A server at an IP address has its accounts in the path, as Azurite does. */
function withAccount(endpoint: string, account: string | undefined): string {
  const { hostname, pathname } = new URL(endpoint);
  const isLiteral = hostname === "localhost" || hostname.startsWith("[") || /^[\d.]+$/.test(hostname);
  return isLiteral && pathname === "/" && account !== undefined ? `${endpoint}/${account}` : endpoint;
}
