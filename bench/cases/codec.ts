/** What the codec and the checksum cost by themselves, in one process, next to protobuf-es and a copy of the bytes. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { UploadRequestSchema } from "../../gen/ts/dstack/artifacts/v1/artifacts_pb.ts";
import { EntryHeaderSchema, EntryType, FileEndSchema } from "../../gen/ts/dstack/artifacts/v1/entries_pb.ts";
import { crc32c } from "../../src/lib/crc32c.ts";
import { uploadCodec } from "../../src/wire/codec.ts";
import { MAX_CHUNK_BYTES, MAX_MESSAGE_BYTES } from "../../src/wire/limits.ts";
import type { UploadMessage } from "../../src/wire/messages.ts";
import { createMessageReader } from "../../src/wire/reader.ts";
import { createMessageWriter } from "../../src/wire/writer.ts";
import { type Contender, type Figure, measure, type NamedTask } from "../measure.ts";
import type { Settings } from "../settings.ts";

const MIB = 1024 * 1024;
/** As HTTP/2 cuts what Node sends. */
const PACKET_BYTES = 16 * 1024;
const LARGE_CHUNKS = 1_000;
const SMALL_FILES = 20_000;
const SMALL_BYTES = 4 * 1024;

export async function codec({ rounds, progress }: Settings): Promise<Figure[]> {
  const large = { files: 1, bytes: LARGE_CHUNKS * MIB, chunkBytes: MIB };
  const small = { files: SMALL_FILES, bytes: SMALL_BYTES, chunkBytes: SMALL_BYTES };
  const tasks: NamedTask[] = [
    { name: "reading 1 file in 1 MiB chunks", direction: "up", ...large },
    { name: `reading ${SMALL_FILES} files of 4 KiB`, direction: "up", ...small },
    { name: "writing 1 file in 1 MiB chunks", direction: "down", ...large },
    { name: `writing ${SMALL_FILES} files of 4 KiB`, direction: "down", ...small },
  ];
  const contenders = [
    contender("a copy and CRC32C", copyAndCrc),
    contender("CRC32C", crcOnly),
    contender("codec", ours),
    contender("protobuf-es", theirs),
  ];
  return measure("codec", contenders, tasks, rounds, 1, progress);
}

/** Prepares a task and gives the work that is timed. */
type Prepare = (task: NamedTask) => () => void;

function contender(name: string, prepare: Prepare): Contender {
  return {
    name,
    async measure(task) {
      const work = prepare(task as NamedTask);
      const cpu = process.cpuUsage();
      const before = performance.now();
      work();
      const seconds = (performance.now() - before) / 1000;
      const { user, system } = process.cpuUsage(cpu);
      return { seconds, clientCpu: (user + system) / 1e6, serverCpu: Number.NaN, clientPeak: Number.NaN, serverPeak: Number.NaN };
    },
    async close() {},
  };
}

/** Each file's messages. The same file again and again: a million of them wouldn't fit into memory. */
function messagesOf({ bytes, chunkBytes }: NamedTask): UploadMessage[] {
  const chunk = new Uint8Array(Math.min(bytes, chunkBytes)).fill(7);
  return [
    { case: "file", value: create(EntryHeaderSchema, { path: "folder/file", type: EntryType.FILE, size: BigInt(bytes), mode: 0o644 }) },
    ...Array.from({ length: Math.ceil(bytes / chunkBytes) }, (): UploadMessage => ({ case: "chunk", value: chunk })),
    { case: "fileEnd", value: create(FileEndSchema, { size: BigInt(bytes), crc32c: 1 }) },
  ];
}

/** One large chunk's message, or one small file's three, in packets; and how often they come. */
function packetsOf(task: NamedTask): { packets: Uint8Array[]; times: number } {
  const messages = task.files === 1 ? messagesOf({ ...task, bytes: MIB }) : messagesOf(task);
  const bytes = Buffer.concat(createMessageWriter(uploadCodec)(messages));
  const packets: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += PACKET_BYTES) packets.push(bytes.subarray(at, at + PACKET_BYTES));
  return { packets, times: (task.files * task.bytes) / (task.files === 1 ? MIB : SMALL_BYTES) };
}

const ours: Prepare = (task) => {
  if (task.direction === "up") {
    const { packets, times } = packetsOf(task);
    return () => {
      const reader = createMessageReader(uploadCodec, { maxChunkBytes: MAX_CHUNK_BYTES, maxMessageBytes: MAX_MESSAGE_BYTES });
      for (let i = 0; i < times; i++) for (const packet of packets) reader.push(packet, []);
    };
  }
  const messages = messagesOf(task);
  return () => {
    const write = createMessageWriter(uploadCodec);
    for (let i = 0; i < task.files; i++) write(messages);
  };
};

/** With what any library must do besides: join a message's packets, put the prefix before it. */
const theirs: Prepare = (task) => {
  if (task.direction === "up") {
    const messages = (task.files === 1 ? messagesOf({ ...task, bytes: MIB }) : messagesOf(task)).map((message) =>
      toBinary(UploadRequestSchema, create(UploadRequestSchema, { message })),
    );
    const times = (task.files * task.bytes) / (task.files === 1 ? MIB : SMALL_BYTES);
    return () => {
      for (let i = 0; i < times; i++) for (const bytes of messages) fromBinary(UploadRequestSchema, Buffer.concat([bytes]));
    };
  }
  const messages = messagesOf(task);
  return () => {
    for (let i = 0; i < task.files; i++) {
      for (const message of messages)
        Buffer.concat([Buffer.alloc(5), toBinary(UploadRequestSchema, create(UploadRequestSchema, { message }))]);
    }
  };
};

const eachChunk =
  (work: (chunk: Buffer) => void): Prepare =>
  ({ files, bytes, chunkBytes }) =>
  () => {
    const chunk = Buffer.alloc(chunkBytes, 7);
    for (let left = files * bytes; left > 0; left -= chunkBytes) work(chunk);
  };
const crcOnly = eachChunk((chunk) => crc32c(chunk));
const copyAndCrc = eachChunk((chunk) => crc32c(Buffer.from(chunk)));
