/** Sizes of what travels, for both ends. */

/** Bytes of a chunk that we send, and the most that a server takes. Larger ones gain nothing, smaller ones cost more CPU a byte. */
export const MAX_CHUNK_BYTES = 1024 * 1024;

/** The most bytes of any message that isn't a chunk. The largest are a download's list of held files and a file's header (6 KiB). */
export const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;

/**
 * How far a peer may send ahead in one stream. Together with the connection's window it decides the rate: either alone gains nothing,
 * and 16 MiB lose again, as the bytes then fall out of the CPU's cache before they are read.
 */
export const STREAM_WINDOW_BYTES = 4 * 1024 * 1024;

/** How far a peer may send ahead in all streams of a connection. */
export const CONNECTION_WINDOW_BYTES = 8 * 1024 * 1024;

/**
 * What a connection may hold, in MB by Node's account: more than any can come to, since each part has a limit of its own. The account can't be
 * trusted with less: what a reset stream left unsent stays in it for ever, and once it is full, every call is refused, or every answer.
 */
export const SESSION_MEMORY_MB = 65_536;

/** The largest frame that a peer may send. Peers that fill them (grpc-go, grpcio) cost a sixteenth of the frames' overhead. */
export const MAX_FRAME_BYTES = 256 * 1024;
