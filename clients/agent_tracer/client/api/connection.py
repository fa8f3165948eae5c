"""One server's connections, and how a call is made over them: the key, the deadline, retries, errors."""

import asyncio
import random
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, TypeVar, cast

from betterproto2.grpclib import ServiceStub
from grpclib.client import Channel
from grpclib.metadata import Deadline

from agent_tracer.client.api.channels import Channels
from agent_tracer.client.api.endpoint import Endpoint, api_key_or_default, endpoint_or_default
from agent_tracer.client.api.errors import TRANSPORT_ERRORS, translated
from agent_tracer.client.api.retrying import DEFAULT_RETRIES, Retries

__all__ = ["DEFAULT_TIMEOUT_SECONDS", "Connection", "Settings", "StubMethod"]

DEFAULT_TIMEOUT_SECONDS: Final = 60.0
"""The server's own limit for one call that is no stream."""

_DEFAULT_RETRIES: Final = Retries()
_PACKAGE: Final = "agent_tracer.v1"

_Given_contra = TypeVar("_Given_contra", contravariant=True)
_Result_co = TypeVar("_Result_co", covariant=True)
_Message = TypeVar("_Message")
_Answer = TypeVar("_Answer")


class StubMethod(Protocol[_Given_contra, _Result_co]):
    """A method of a generated stub that is not bound to one."""

    def __call__(
        self,
        stub: Any,  # noqa: ANN401 - each method knows its own stub alone
        message: _Given_contra,
        /,
        *,
        deadline: Deadline | None = None,
        metadata: dict[str, str | bytes] | None = None,
    ) -> _Result_co:
        """Make the call."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the server is, and how it is called. `tls` None: as the endpoint says."""

    endpoint: Endpoint
    api_key: str | None = None
    timeout_seconds: float | None = DEFAULT_TIMEOUT_SECONDS
    tls: bool | ssl.SSLContext | None = None
    retries: Retries = _DEFAULT_RETRIES

    @classmethod
    def of(
        cls,
        endpoint: str | None = None,
        *,
        api_key: str | None = None,
        timeout_seconds: float | None = DEFAULT_TIMEOUT_SECONDS,
        tls: bool | ssl.SSLContext | None = None,
        retries: int = DEFAULT_RETRIES,
    ) -> "Settings":
        """What callers give, checked, and the environment's where they give nothing. Raises ValueError."""
        if retries < 0 or (timeout_seconds is not None and timeout_seconds <= 0):
            message = "retries must be 0 or more, and timeout_seconds more than 0, or None for no deadline"
            raise ValueError(message)
        where, key = endpoint_or_default(endpoint), api_key_or_default(api_key)
        return cls(where, key, timeout_seconds, tls, Retries(retries))

    @property
    def is_tls(self) -> bool:
        """Whether calls go by TLS."""
        return self.endpoint.tls if self.tls is None else self.tls is not False

    def address_of(self, service: str) -> str:
        """`host:port` of the service of this full proto name."""
        return str(replace(self.endpoint.of_service(service), tls=False))


@dataclass(slots=True, weakref_slot=True, eq=False)
class Connection:
    """Connects with the first call, and again after a connection was lost, in the event loop of the call.

    Where `kept` is False, every call has a connection of its own, so that there is nothing to close.
    """

    settings: Settings
    kept: bool = True
    channels: Channels = field(default_factory=Channels)

    async def answer(
        self,
        stub: type[ServiceStub],
        method: StubMethod[_Message, Coroutine[Any, Any, _Answer]],
        message: _Message,
        *,
        repeatable: bool,
        timeout_seconds: float | None = None,
    ) -> _Answer:
        """The answer of a call. Raises AgentTracerError."""
        if timeout_seconds is None:
            timeout_seconds = self.settings.timeout_seconds
        attempts = _Attempts(self._endpoint_of(stub), self.settings.retries, timeout_seconds, repeatable=repeatable)
        while True:
            try:
                async with self._channel(attempts.endpoint) as channel:
                    return await method(stub(channel), message, deadline=attempts.deadline, metadata=self._metadata)
            except TRANSPORT_ERRORS as error:
                await attempts.again_after(error)

    async def answers(
        self,
        stub: type[ServiceStub],
        method: StubMethod[_Message, AsyncIterator[_Answer]],
        message: _Message,
        *,
        timeout_seconds: float | None = None,
    ) -> AsyncGenerator[_Answer, None]:
        """The answers of a stream, which has no deadline where none is given. Raises AgentTracerError.

        It is begun again as a call is until its first answer is there, and never after that.
        """
        attempts = _Attempts(self._endpoint_of(stub), self.settings.retries, timeout_seconds, repeatable=True)
        while True:
            try:
                async with self._channel(attempts.endpoint) as channel:
                    begun = method(stub(channel), message, deadline=attempts.deadline, metadata=self._metadata)
                    async with aclosing(cast("AsyncGenerator[_Answer, None]", begun)) as stream:
                        async for answer in stream:
                            attempts.answered = True
                            yield answer
            except TRANSPORT_ERRORS as error:
                await attempts.again_after(error)
            else:
                return

    async def close(self) -> None:
        """Close what is open; a later call connects anew."""
        self.channels.close()

    def _endpoint_of(self, stub: type[ServiceStub]) -> Endpoint:
        return self.settings.endpoint.of_service(f"{_PACKAGE}.{stub.__name__.removesuffix('Stub')}")

    @property
    def _metadata(self) -> dict[str, str | bytes] | None:
        key = self.settings.api_key
        return None if key is None else {"authorization": f"Bearer {key}"}

    @asynccontextmanager
    async def _channel(self, endpoint: Endpoint) -> AsyncGenerator[Channel, None]:
        if self.kept:
            yield self.channels.of(endpoint, self._new_channel)
            return
        channel = self._new_channel(endpoint)
        try:
            yield channel
        finally:
            channel.close()

    def _new_channel(self, endpoint: Endpoint) -> Channel:
        return Channel(endpoint.host, endpoint.port, ssl=_tls_context(self.settings))


def _tls_context(settings: Settings) -> ssl.SSLContext | None:
    if not settings.is_tls:
        return None
    given = settings.tls
    context = given if isinstance(given, ssl.SSLContext) else ssl.create_default_context()
    context.set_alpn_protocols(["h2"])  # gRPC servers refuse whoever does not offer it
    return context


class _Attempts:
    """The attempts of one call, all within one deadline."""

    def __init__(
        self, endpoint: Endpoint, retries: Retries, timeout_seconds: float | None, *, repeatable: bool
    ) -> None:
        self.endpoint = endpoint
        self.answered = False
        self.deadline = None if timeout_seconds is None else Deadline.from_timeout(timeout_seconds)
        self._retries = retries
        self._repeatable = repeatable
        self._timeout_seconds = timeout_seconds
        self._made = 0

    async def again_after(self, cause: Exception) -> None:
        """Return when the next attempt is due. Raises AgentTracerError where there is none."""
        error = translated(cause, self.endpoint, self._timeout_seconds)
        self._made += 1
        # An OSError comes from connecting: nobody can have heard the call.
        repeatable = self._repeatable or isinstance(cause, OSError)
        wait = self._retries.wait_seconds(error, self._made, repeatable=repeatable, random=random.random)
        if wait is None or self.answered or (self.deadline and self.deadline.time_remaining() <= wait):
            raise error from cause
        await asyncio.sleep(wait)
