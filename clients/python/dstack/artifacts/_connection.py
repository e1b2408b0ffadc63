"""The gRPC channel to a server, and the calls on it."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

import grpc

from ._cancel import Call, current
from ._chunks import Received, deserialize, serialize
from ._errors import DstackError
from ._retry import Patience
from ._settings import Settings, grpc_target
from ._status import Doing, Failure, failure_of, to_error
from .v1 import artifacts_pb2 as pb
from .v1.artifacts_pb2_grpc import ArtifactsServiceStub

Request = TypeVar("Request")
Response = TypeVar("Response")

# How far a server may send ahead. The default of 64 KiB costs a server in Node twice the CPU.
_WINDOW_BYTES = 4 * 1024 * 1024
# A page of a listing can be larger than a chunk.
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
# A silent connection is asked this often within a timeout whether it is there.
_PINGS_PER_TIMEOUT = 3
_MS = 1000
# A reconnection is not put off for longer than our own waits.
_FIRST_BACKOFF_MS = 100
_MAX_BACKOFF_MS = 1000
# How long one try to connect may take.
_CONNECT_TIMEOUT_MS = 5000

# Where Debian and Red Hat, and what comes from them, have their certificate authorities.
_SYSTEM_ROOTS = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")

_SERVICE = pb.DESCRIPTOR.services_by_name["ArtifactsService"].full_name

UploadMethod: TypeAlias = "grpc.StreamUnaryMultiCallable[pb.UploadRequest | bytes, pb.UploadResponse]"
DownloadMethod: TypeAlias = "grpc.UnaryStreamMultiCallable[pb.DownloadRequest, Received]"


class Channel:
    """What belongs to one process: a channel can't be used in a fork of the process that made it."""

    def __init__(self, settings: Settings) -> None:
        self.pid = os.getpid()
        # A channel that found no server fails calls for a while without looking again. When to look is ours to say.
        self.unreachable = False
        self._lock = threading.Lock()
        self._calls = 0
        self._retired = False
        self.channel = _open(settings)
        self.stub = ArtifactsServiceStub(self.channel)
        # As the stub's own, but for chunks, which are most of the bytes: those are not copied into messages and out of them.
        self.upload: UploadMethod = self.channel.stream_unary(
            f"/{_SERVICE}/Upload",
            request_serializer=serialize,
            response_deserializer=pb.UploadResponse.FromString,
        )
        self.download: DownloadMethod = self.channel.unary_stream(
            f"/{_SERVICE}/Download",
            request_serializer=pb.DownloadRequest.SerializeToString,
            response_deserializer=deserialize,
        )

    def is_usable(self) -> bool:
        """Whether it is good for another call."""
        return self.pid == os.getpid() and not self.unreachable

    def begin(self) -> bool:
        """Whether a call can be begun, which ends with `watching`: until then the connection isn't ended by `retire`."""
        with self._lock:
            if not self._retired:
                self._calls += 1
            return not self._retired

    def retire(self) -> None:
        """Ends the connection when its last call has ended."""
        if self.pid != os.getpid():
            # The parent's of a fork, of which a thread may have held the lock.
            is_idle = True
        else:
            with self._lock:
                self._retired = True
                is_idle = self._calls == 0
        if is_idle:
            self.close()

    def close(self) -> None:
        """Ends the connection, unless it is the parent's of a fork."""
        if self.pid == os.getpid():
            self.channel.close()
        else:
            _inherited.append(self)

    @contextmanager
    def watching(self, call: Call) -> Iterator[None]:
        """While the block runs, the call is cancelled with the caller; and when the block fails. The call has ended then."""
        try:
            with current().watching(call):
                yield
        except grpc.RpcError as error:
            if failure_of(error).unreachable:
                self.unreachable = True
            raise
        finally:
            self._end()

    def _end(self) -> None:
        # In a fork, the parent's call is none of ours, and one of its threads may have held the lock.
        if self.pid != os.getpid():
            return
        with self._lock:
            self._calls -= 1
            is_last = self._retired and self._calls == 0
        if is_last:
            self.close()


# Channels of the parent, in a fork of it: kept, since closing one would end the parent's connection.
_inherited: list[Channel] = []


class Connection:
    """Calls to one server, over a channel that is made by the first of them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._channel: Channel | None = None
        self._closed = False
        self.metadata: tuple[tuple[str, str], ...] = ()
        if settings.token is not None:
            self.metadata = (("authorization", f"Bearer {settings.token}"),)

    def open(self) -> Channel:
        """The channel for the next call, which is begun on it."""
        channel = self._channel
        if channel is not None and channel.is_usable() and channel.begin():
            return channel
        if channel is not None and channel.pid != os.getpid():
            # Another thread of the parent may have held the lock as it forked.
            self._lock = threading.Lock()
        with self._lock:
            if self._closed:
                raise DstackError("the client is closed")
            if self._channel is None or not self._channel.is_usable():
                if self._channel is not None:
                    # Other threads' calls may have been begun on it.
                    self._channel.retire()
                self._channel = Channel(self.settings)
            self._channel.begin()
            return self._channel

    def close(self) -> None:
        """Ends the connection; calls that run fail."""
        self._closed = True
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def error(self, failure: Failure, doing: Doing) -> DstackError:
        """The error that a caller sees."""
        return to_error(failure, doing, self.settings.url)

    def patience(self) -> Patience:
        """A new account of failures, for one operation."""
        return Patience(self.settings.timeout, current())

    def unary(
        self,
        method: Callable[[ArtifactsServiceStub], grpc.UnaryUnaryMultiCallable[Request, Response]],
        request: Request,
        doing: Doing = "other",
        patience: Patience | None = None,
    ) -> Response:
        """
        Makes a call, which must be safe to make twice, and makes it again where that can help. A server that can't be reached is an
        error at once, unless `patience` knows that it was reached before.
        """
        patience = patience or self.patience()
        while True:
            try:
                response = self.unary_once(method, request)
            except grpc.RpcError as error:
                failure = failure_of(error)
                if not patience.wait(failure):
                    raise self.error(failure, doing) from error
            else:
                patience.reached = True
                return response

    def unary_once(
        self, method: Callable[[ArtifactsServiceStub], grpc.UnaryUnaryMultiCallable[Request, Response]], request: Request
    ) -> Response:
        """Makes one call. Raises grpc.RpcError."""
        channel = self.open()
        call = method(channel.stub).future(request, metadata=self.metadata)
        with channel.watching(call):
            return call.result()

    def stream(
        self,
        method: Callable[[ArtifactsServiceStub], grpc.UnaryStreamMultiCallable[Request, Response]],
        request: Request,
        doing: Doing = "other",
    ) -> Iterator[Response]:
        """The responses of a call, which is cancelled when the iteration is left."""
        channel = self.open()
        call = method(channel.stub)(request, metadata=self.metadata)
        try:
            with channel.watching(call):
                yield from call
        except grpc.RpcError as error:
            raise self.error(failure_of(error), doing) from error


def _open(settings: Settings) -> grpc.Channel:
    target, secure = grpc_target(settings.url)
    ping_ms = max(1, int(settings.timeout * _MS / _PINGS_PER_TIMEOUT))
    options: list[tuple[str, int | str]] = [
        ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
        ("grpc.http2.lookahead_bytes", _WINDOW_BYTES),
        # Else gRPC widens the window by what it measures, and hundreds of megabytes wait in memory for a slow disk.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.keepalive_time_ms", ping_ms),
        ("grpc.keepalive_timeout_ms", ping_ms),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", _FIRST_BACKOFF_MS),
        ("grpc.max_reconnect_backoff_ms", _MAX_BACKOFF_MS),
        # By its name the least time between tries, in fact also how long one may take.
        ("grpc.min_reconnect_backoff_ms", _CONNECT_TIMEOUT_MS),
        # Each client has a connection of its own, that ends with it.
        ("grpc.use_local_subchannel_pool", 1),
        # grpcio's own: the thread that iterates over a stream's answers reads them, instead of waiting for another one that does.
        ("SingleThreadedUnaryStream", 1),
        # We know better what is safe to send again.
        ("grpc.enable_retries", 0),
        ("grpc.primary_user_agent", "dstack-artifacts-python"),
    ]
    if settings.url.startswith("unix:"):
        # Else it is the socket's path, percent-encoded, which servers may not take for a host.
        options.append(("grpc.default_authority", "localhost"))
    if not secure:
        return grpc.insecure_channel(target, options=options)
    return grpc.secure_channel(target, _credentials(settings), options=options)


def _credentials(settings: Settings) -> grpc.ChannelCredentials:
    # Without a file, gRPC takes roots that it ships with: the system's know the company's authority too.
    roots = settings.ca_file or ssl.get_default_verify_paths().cafile or next(filter(os.path.exists, _SYSTEM_ROOTS), None)
    return grpc.ssl_channel_credentials(
        root_certificates=_read(roots),
        private_key=_read(settings.key_file),
        certificate_chain=_read(settings.cert_file),
    )


def _read(path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise DstackError(f"{path}: {error.strerror}") from error
