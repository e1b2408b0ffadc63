"""Messages on the wire. Those of one chunk each, which are most of the bytes, are not copied into protobuf's objects and out of them."""

from __future__ import annotations

from typing import TypeAlias

from .v1 import artifacts_pb2 as pb

# A message, or the chunk that it is all of: the end of the bytes that came.
Received: TypeAlias = "pb.DownloadResponse | memoryview"

# Such a message: the field's tag, a varint of the chunk's length, the chunk.
_TAG = (pb.UploadRequest.CHUNK_FIELD_NUMBER << 3 | 2).to_bytes(1, "big")
_VARINT_BITS, _VARINT_MORE = 0x7F, 0x80
_MOST_VARINT_BYTES = 5

# glibc's malloc gives blocks above a threshold back to the system when they are freed, so that each chunk's memory is mapped and cleared
# anew, which takes a third of a transfer's CPU time. It raises the threshold to the size of the largest block that was freed so: like this.
_LARGEST_BLOCK_BYTES = 16 * 1024 * 1024
bytearray(_LARGEST_BLOCK_BYTES)


def serialize(message: pb.UploadRequest | bytes) -> bytes:
    """A message as it travels, which one of a chunk is already."""
    return message if isinstance(message, bytes) else message.SerializeToString()


def chunk_message(chunk: bytes) -> bytes:
    """An UploadRequest with nothing but a chunk, as it travels."""
    return b"".join((_TAG, _varint(len(chunk)), chunk))


def deserialize(data: bytes) -> Received:
    """What came."""
    if data[:1] == _TAG:
        length = shift = 0
        for at in range(1, min(len(data), 1 + _MOST_VARINT_BYTES)):
            byte = data[at]
            length |= (byte & _VARINT_BITS) << shift
            shift += 7
            if not byte & _VARINT_MORE:
                if at + 1 + length == len(data):
                    return memoryview(data)[at + 1 :]
                break
    return pb.DownloadResponse.FromString(data)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > _VARINT_BITS:
        out.append(number & _VARINT_BITS | _VARINT_MORE)
        number >>= 7
    out.append(number)
    return bytes(out)
