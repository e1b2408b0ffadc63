/** JSON lines on stderr. */
import { type DestinationStream, destination, type Logger, pino, stdTimeFunctions } from "pino";

const STDERR = 2;
/** Names under which a secret could come into a log line by accident. */
const SECRETS = ["authorization", "*.authorization", "token", "*.token", "headers.authorization", "*.headers.authorization"];

/**
 * A logger for a server. `level` is one of pino's: fatal, error, warn, info, debug, trace, silent. At `debug`, each call to the store
 * has a line of its own.
 */
export function createLogger(level = "info", to: DestinationStream = destination({ dest: STDERR, sync: true })): Logger {
  const base = { service: "dstack-artifacts", pid: process.pid };
  return pino({ level, base, timestamp: stdTimeFunctions.isoTime, redact: { paths: SECRETS, censor: "[secret]" } }, to);
}
