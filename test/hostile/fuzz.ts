/** Inputs that nobody would send by mistake, from a seed that a failure names. */

/** Gives a number from 0 up to `below`, which isn't one of them. */
export type Random = (below: number) => number;

/** mulberry32: small, fast, the same everywhere. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

const INTERESTING = [0x00, 0x01, 0x7f, 0x80, 0xff, 0x0a, 0x12, 0x1a, 0x20, 0x2a, 0x32, 0x3a, 0x7b, 0x7c];

/** Bytes of a valid stream, damaged in a few places; sometimes bytes of no meaning at all. */
export function damage(valid: Uint8Array, random: Random): Buffer {
  if (random(10) === 0) return Buffer.from(Array.from({ length: random(64) }, () => random(256)));
  let bytes = Buffer.from(valid);
  for (let edits = 1 + random(4); edits > 0; edits--) {
    const at = random(bytes.length + 1);
    switch (random(6)) {
      case 0:
        if (at < bytes.length) bytes[at] = random(256);
        break;
      case 1:
        if (at < bytes.length) bytes[at] = INTERESTING[random(INTERESTING.length)] as number;
        break;
      case 2:
        if (at < bytes.length) bytes[at] = (bytes[at] as number) ^ (1 << random(8));
        break;
      case 3:
        bytes = bytes.subarray(0, at);
        break;
      case 4:
        bytes = Buffer.concat([
          bytes.subarray(0, at),
          Buffer.from(Array.from({ length: 1 + random(8) }, () => random(256))),
          bytes.subarray(at),
        ]);
        break;
      default:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.min(bytes.length, at + 1 + random(8)))]);
    }
  }
  return bytes;
}

/** The bytes in packets of any size. */
export function* packets(bytes: Uint8Array, random: Random): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; ) {
    const size = 1 + random(random(2) === 0 ? 4 : bytes.length);
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

const PARTS = [
  "a",
  "..",
  ".",
  "",
  "/",
  "\\",
  "\0",
  "\n",
  "\r",
  "\t",
  "%2e%2e",
  "%2f",
  "%00",
  "C:",
  "con",
  "NUL",
  "~",
  "-",
  "é",
  "e\u0301",
  "\u202e",
  "\u200b",
  "\ufeff",
  "\u0085",
  "\u2028",
  "😀",
  "\ud800",
  "｡",
  "．．",
  "．",
  "／",
  "∕",
  " ",
  ";",
  "&",
  "|",
  "$(x)",
  "`x`",
  "'",
  '"',
  "*",
  "?",
  "{{x}}",
  "$" + "{x}",
  "<!--",
  "__proto__",
  "constructor",
  ".git",
  "etc",
  "passwd",
  "log",
  "data",
  "x".repeat(255),
  "x".repeat(256),
  "é".repeat(128),
  "\u007f",
  "\u001b[2J",
];

/** A name or a path out of everything that ever was an attack. */
export function hostileName(random: Random): string {
  let name = "";
  for (let parts = 1 + random(6); parts > 0; parts--) {
    name += random(8) === 0 ? String.fromCharCode(random(0x10000)) : (PARTS[random(PARTS.length)] as string);
    if (random(3) === 0) name += "/";
  }
  return name;
}
