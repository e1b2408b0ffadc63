// Names of the web platform that dependencies' declarations use and @types/node doesn't declare.
type HeadersInit = ConstructorParameters<typeof Headers>[0];
type JsonWebKey = import("node:crypto").webcrypto.JsonWebKey;
