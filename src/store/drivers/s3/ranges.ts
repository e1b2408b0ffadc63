/** Ranges go past the SDK's own HTTP client. The SDK still signs the requests, and understands the answers. */
import type { S3Client } from "@aws-sdk/client-s3";
import { lengthOf, originOf, type RangeReader } from "../cloud/ranges.ts";

type Handler = S3Client["config"]["requestHandler"];
type Request = Parameters<Handler["handle"]>[0];

/** Lets `ranges` make the requests of `client` that ask for a range. */
export function readRangesBy(client: S3Client, ranges: RangeReader): void {
  const { requestHandler } = client.config;
  const handle: Handler["handle"] = requestHandler.handle.bind(requestHandler);
  requestHandler.handle = async (request, options: { abortSignal?: unknown } = {}) => {
    const length = request.method === "GET" ? lengthOf(request.headers) : undefined;
    if (length === undefined) return handle(request, options);
    const { protocol, hostname, port, headers } = request;
    const signal = options.abortSignal as AbortSignal | undefined;
    const { status, ...answer } = await ranges.read({
      origin: originOf(protocol, hostname, port),
      target: targetOf(request),
      headers,
      length,
      signal,
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
