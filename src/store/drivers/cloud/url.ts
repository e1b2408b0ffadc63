/** URLs of clouds' stores: `SCHEME://BUCKET[/PREFIX][?PARAMETER=VALUE&…]`. */
import { StoreError } from "../../driver.ts";
import { checkKey } from "../keys.ts";

export interface CloudUrl {
  /** The URL without its parameters: what the store is called. */
  readonly name: string;
  readonly bucket: string;
  /** What all keys begin with: nothing, or segments that each end in `/`. */
  readonly prefix: string;
  parameter(name: string): string | undefined;
  /** Of a parameter that is `true` or `false`. */
  flag(name: string): boolean | undefined;
  /** Of a parameter that is an address: `http:` or `https:`, a host, and maybe a path; without a `/` at its end. */
  address(name: string): string | undefined;
}

export interface CloudUrlForm {
  /** Without a colon. */
  readonly scheme: string;
  /** What this cloud calls a bucket. */
  readonly bucketWord: string;
  /** The parameters that there are. */
  readonly parameters: readonly string[];
}

/** Takes a store's URL apart. No message repeats what may be a secret: user names, passwords and values of parameters. */
export function parseCloudUrl(text: string, { scheme, bucketWord, parameters }: CloudUrlForm): CloudUrl {
  const form = `${scheme}://${bucketWord.toUpperCase()}[/PREFIX][?PARAMETER=VALUE]`;
  const refuse = (what: string): never => {
    throw new StoreError("misconfigured", `the store's URL ${what}: write ${form}`);
  };
  const url = URL.canParse(text) ? new URL(text) : refuse("can't be read");
  if (url.protocol !== `${scheme}:`) refuse(`doesn't begin with ${scheme}://`);
  if (url.username || url.password) refuse("holds a user or password, which belong into the environment");
  if (url.port) refuse("has a port, which belongs into the parameter endpoint");
  if (url.hash) refuse("has a #, which in a prefix is written %23");
  if (!url.hostname) refuse(`names no ${bucketWord}`);
  const segments = url.pathname.split("/").filter((segment) => segment !== "");
  const path = decode(segments.join("/")) ?? refuse("has a % in its prefix that no two hexadecimal digits follow");
  const name = `${scheme}://${url.hostname}${path === "" ? "" : `/${path}`}`;
  if (path !== "") checkKey(name, path);

  const values = new Map<string, string>();
  for (const [parameter, value] of url.searchParams) {
    if (!parameters.includes(parameter)) refuse(`has a parameter ${parameter}, which isn't one of ${parameters.join(", ")}`);
    if (values.has(parameter)) refuse(`has the parameter ${parameter} twice`);
    if (value === "") refuse(`has the parameter ${parameter} without a value`);
    values.set(parameter, value);
  }
  return {
    name,
    bucket: url.hostname,
    prefix: path === "" ? "" : `${path}/`,
    parameter: (parameter) => values.get(parameter),
    flag(parameter) {
      const value = values.get(parameter);
      if (value !== undefined && value !== "true" && value !== "false") {
        throw new StoreError("misconfigured", `${name}: the parameter ${parameter} is true or false`);
      }
      return value === undefined ? undefined : value === "true";
    },
    address(parameter) {
      const value = values.get(parameter);
      return value === undefined ? undefined : checkAddress(value, `${name}: the parameter ${parameter}`);
    },
  };
}

/** An address of a store's server, without a `/` at its end; `what` names where it was found. */
export function checkAddress(value: string, what: string): string {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new StoreError("misconfigured", `${what} isn't an http:// or https:// address`);
  }
  if (url.username || url.password) throw new StoreError("misconfigured", `${what} holds a user or password, which it can't have`);
  return value.replace(/\/+$/, "");
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
