import { checkAddress, parseCloudUrl } from "../cloud/url.ts";

/** What a Google store's URL says, with what the environment adds. */
export interface GcsSettings {
  readonly name: string;
  readonly bucket: string;
  readonly prefix: string;
  /** The service's address where it isn't Google's. */
  readonly endpoint: string | undefined;
  /** Whether calls carry credentials: a token never goes to an emulator, or over a line that anyone can read. */
  readonly authenticated: boolean;
  readonly userProject: string | undefined;
  readonly kmsKeyName: string | undefined;
  readonly storageClass: string | undefined;
}

const PARAMETERS = ["endpoint", "user_project", "kms_key_name", "storage_class"] as const;

export function parseGcsUrl(text: string, env: NodeJS.ProcessEnv): GcsSettings {
  const url = parseCloudUrl(text, { scheme: "gs", bucketWord: "bucket", parameters: PARAMETERS });
  const given = url.address("endpoint");
  const endpoint = given ?? emulator(env.STORAGE_EMULATOR_HOST);
  return {
    name: url.name,
    bucket: url.bucket,
    prefix: url.prefix,
    endpoint,
    authenticated: endpoint === undefined || (given !== undefined && endpoint.startsWith("https:")),
    userProject: url.parameter("user_project"),
    kmsKeyName: url.parameter("kms_key_name"),
    storageClass: url.parameter("storage_class"),
  };
}

/** With or without a scheme, and with or without the API's path: both are in use. */
function emulator(host: string | undefined): string | undefined {
  if (!host) return undefined;
  const address = /^https?:\/\//.test(host) ? host : `http://${host}`;
  return checkAddress(address, "STORAGE_EMULATOR_HOST").replace(/\/storage\/v1$/, "");
}
