/** Ranges go past the SDK's own HTTP client. The SDK still signs the requests, and understands the answers. */
import type { S3Client } from "@aws-sdk/client-s3";
import type { ReadOptions } from "../../driver.ts";
import { lengthOf, originOf, type RangeReader } from "../cloud/ranges.ts";

type Handler = S3Client["config"]["requestHandler"];
type Request = Parameters<Handler["handle"]>[0];

/** What a call of `client.send` may be given; the SDK hands all of it on. */
export interface RequestOptions {
  readonly abortSignal?: AbortSignal;
  readonly allocate?: ReadOptions["allocate"];
}

/** Lets `ranges` make the requests of `client` that ask for a range. */
export function readRangesBy(client: S3Client, ranges: RangeReader): void {
  const { requestHandler } = client.config;
  const handle: Handler["handle"] = requestHandler.handle.bind(requestHandler);
  requestHandler.handle = async (request, options: object = {}) => {
    const length = request.method === "GET" ? lengthOf(request.headers) : undefined;
    if (length === undefined) return handle(request, options);
    const { protocol, hostname, port, headers } = request;
    const { abortSignal: signal, allocate } = options as RequestOptions;
    const { status, ...answer } = await ranges.read({
      origin: originOf(protocol, hostname, port),
      target: targetOf(request),
      headers,
      length,
      signal,
      allocate,
    });
    return { response: { statusCode: status, ...answer } };
  };
}

/** The request's path and query; the SDK has encoded the path. */
function targetOf({ path, query }: Request): string {
  const parameters = Object.entries<string | string[] | null>(query).flatMap(([name, value]) =>
    [value ?? ""].flat().map((each) => `${encodeURIComponent(name)}=${encodeURIComponent(each)}`),
  );
  return parameters.length === 0 ? path : `${path}?${parameters.join("&")}`;
}
