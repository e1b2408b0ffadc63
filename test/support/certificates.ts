/** Certificates for tests, made when they are needed: ones kept in files would run out, or never. */
import { createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";

export interface Certificate {
  /** Both in PEM. */
  readonly cert: string;
  readonly key: string;
  readonly name: string;
  readonly privateKey: KeyObject;
}

const DAY_MS = 86_400_000;
/** ecdsa-with-SHA256, commonName, basicConstraints, subjectAltName (RFC 5758, 5280). */
const OIDS = { signature: "2a8648ce3d040302", commonName: "550403", basicConstraints: "551d13", subjectAltName: "551d11" };

/** A certificate signed by `issuer`, or an authority that signs itself. Servers are `localhost` and 127.0.0.1. */
export function makeCertificate(name: string, issuer?: Certificate): Certificate {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const algorithm = seq(oid(OIDS.signature));
  const now = Date.now();
  const body = seq(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    algorithm,
    nameOf(issuer?.name ?? name),
    seq(time(now - DAY_MS), time(now + DAY_MS)),
    nameOf(name),
    createPublicKey(privateKey).export({ type: "spki", format: "der" }),
    der(0xa3, seq(issuer === undefined ? authority() : altNames())),
  );
  const signature = sign("sha256", body, issuer?.privateKey ?? privateKey);
  const certificate = seq(body, algorithm, der(0x03, Buffer.from([0]), signature));
  return {
    name,
    privateKey,
    key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    cert: `-----BEGIN CERTIFICATE-----\n${certificate.toString("base64").replace(/.{64}/g, "$&\n")}\n-----END CERTIFICATE-----\n`,
  };
}

function authority(): Buffer {
  const isAuthority = seq(der(0x01, Buffer.from([0xff])));
  return seq(oid(OIDS.basicConstraints), der(0x01, Buffer.from([0xff])), der(0x04, isAuthority));
}

function altNames(): Buffer {
  const names = seq(der(0x82, Buffer.from("localhost")), der(0x87, Buffer.from([127, 0, 0, 1])));
  return seq(oid(OIDS.subjectAltName), der(0x04, names));
}

function nameOf(commonName: string): Buffer {
  return seq(der(0x31, seq(oid(OIDS.commonName), der(0x0c, Buffer.from(commonName)))));
}

function time(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replace(/[-:T]|\..*$/g, "");
  return der(0x17, Buffer.from(`${digits.slice(2)}Z`));
}

function oid(hex: string): Buffer {
  return der(0x06, Buffer.from(hex, "hex"));
}

function seq(...parts: Buffer[]): Buffer {
  return der(0x30, ...parts);
}

/** A tag, the length in as many bytes as it takes, and the value (X.690, DER). */
function der(tag: number, ...parts: Buffer[]): Buffer {
  const value = Buffer.concat(parts);
  const { length } = value;
  const head = length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), value]);
}
