/** The one form of answer that is read without Node's own parser: `206`, with a body of a known length. */

export interface RangeHead {
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** Bytes of the head; the body begins behind them. */
  readonly length: number;
  /** Bytes of the body. */
  readonly contentLength: number;
  /** Whether the connection may be used for another request. */
  readonly keepAlive: boolean;
}

const STATUS = "HTTP/1.1 206 ";
const END = "\r\n\r\n";
/** RFC 9110, 5.6.2 and 5.5: a token, then visible characters, spaces, tabs and obs-text. */
const FIELD = /^([!#$%&'*+.^_`|~\w-]+):([\t\x20-\x7e\x80-\xff]*)$/;

/**
 * Reads an answer's beginning: `incomplete` asks for more of it. `other` is an answer of any other form, well-formed or not: an error, a
 * body in chunks or of more than `maxBody` bytes, a field on two lines.
 */
export function parseHead(bytes: Buffer, maxBody: number): RangeHead | "incomplete" | "other" {
  if (!STATUS.startsWith(bytes.toString("latin1", 0, STATUS.length))) return "other";
  const end = bytes.indexOf(END);
  if (end < 0) return "incomplete";
  const headers: Record<string, string> = Object.create(null);
  for (const line of bytes.toString("latin1", 0, end).split("\r\n").slice(1)) {
    const [, name, value] = FIELD.exec(line) ?? [];
    if (name === undefined || value === undefined) return "other";
    const key = name.toLowerCase();
    headers[key] = headers[key] === undefined ? value.trim() : `${headers[key]}, ${value.trim()}`;
  }
  const { "content-length": contentLength = "", "transfer-encoding": coding, connection = "" } = headers;
  // Two lengths have a comma between them, and are none.
  if (coding !== undefined || !/^\d{1,15}$/.test(contentLength) || Number(contentLength) > maxBody) return "other";
  const keepAlive = !/(^|[\s,])close($|[\s,])/i.test(connection);
  return { headers, length: end + END.length, contentLength: Number(contentLength), keepAlive };
}
