"""Methods of services as one table for programs in asyncio and for those without: typed by their request's fields.

A service is a class whose attributes are `Unary` and `Stream`, one a method. Read from a `Service[Awaited]`, an
attribute is a function to await (a stream: an asynchronous generator); from a `Service[Blocking]`, one that blocks.
Either is called with a request message or with its fields, and with `timeout_seconds` where the default is not meant.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator
from typing import Any, ClassVar, Generic, ParamSpec, Protocol, Self, TypeVar, cast, get_type_hints, overload

from betterproto2 import Message
from betterproto2.grpclib import ServiceStub

from agent_tracer.client.api.connection import Connection, StubMethod
from agent_tracer.client.api.portal import PORTAL

__all__ = ["Awaited", "Blocking", "Service", "Stream", "Unary"]

_Fields = ParamSpec("_Fields")
_Request = TypeVar("_Request", bound=Message)
_Answer = TypeVar("_Answer")
_Given_contra = TypeVar("_Given_contra", contravariant=True)
_Result_co = TypeVar("_Result_co", covariant=True)


class Awaited:
    """The mode of services for programs in asyncio."""


class Blocking:
    """The mode of services for programs without an event loop."""


Mode = TypeVar("Mode", bound=Awaited | Blocking)


class Service(Generic[Mode]):
    """A service of the server over a connection."""

    stub: ClassVar[type[ServiceStub]]

    def __init__(self, connection: Connection, mode: type[Mode]) -> None:
        self.connection = connection
        self.mode = mode


class Call(Protocol[_Fields, _Given_contra, _Result_co]):
    """How a method is called; the types of fields are not checked together with `timeout_seconds`."""

    @overload
    def __call__(self, message: _Given_contra, /, *, timeout_seconds: float | None = None) -> _Result_co: ...
    @overload
    def __call__(self, *args: _Fields.args, **fields: _Fields.kwargs) -> _Result_co: ...
    @overload
    def __call__(self, *args: object, timeout_seconds: float | None, **fields: object) -> _Result_co: ...


class _Method(Generic[_Fields, _Request]):
    """`request`: the message's class, or a function of friendlier fields that makes one."""

    _name = ""

    def __init__(self, request: Callable[_Fields, _Request]) -> None:
        self._request: Callable[..., _Request] = request
        self._kind: type[Message] = request if isinstance(request, type) else get_type_hints(request)["return"]

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def _message(self, args: tuple[object, ...], fields: dict[str, object]) -> _Request:
        if not args or not isinstance(args[0], Message):  # no request has a message as its first field
            return self._request(*args, **fields)
        if type(args[0]) is not self._kind or len(args) > 1 or fields:
            message = f"{self._name} takes a {self._kind.__name__} alone, or its fields"
            raise TypeError(message)
        return cast("_Request", args[0])

    def _named(self, function: Any, method: Any) -> Any:  # noqa: ANN401 - Unary and Stream say what it is
        function.__name__ = self._name
        function.__doc__ = method.__doc__
        return function


class Unary(_Method[_Fields, _Request], Generic[_Fields, _Request, _Answer]):
    """A method with one answer. `repeatable`: the same call twice does no more than once, so it may be retried."""

    def __init__(
        self,
        request: Callable[_Fields, _Request],
        method: StubMethod[_Request, Coroutine[Any, Any, _Answer]],
        *,
        repeatable: bool = True,
    ) -> None:
        super().__init__(request)
        self._method = method
        self._repeatable = repeatable

    @overload
    def __get__(self, service: None, owner: object) -> Self: ...
    @overload
    def __get__(
        self, service: Service[Awaited], owner: object
    ) -> Call[_Fields, _Request, Coroutine[Any, Any, _Answer]]: ...
    @overload
    def __get__(self, service: Service[Blocking], owner: object) -> Call[_Fields, _Request, _Answer]: ...
    def __get__(self, service: Service[Any] | None, owner: object) -> Any:
        """The method of that service, to be called."""
        if service is None:
            return self

        async def call(*args: object, timeout_seconds: float | None = None, **fields: object) -> _Answer:
            return await service.connection.answer(
                service.stub,
                self._method,
                self._message(args, fields),
                repeatable=self._repeatable,
                timeout_seconds=timeout_seconds,
            )

        def blocking(*args: object, timeout_seconds: float | None = None, **fields: object) -> _Answer:
            return PORTAL.run(call(*args, timeout_seconds=timeout_seconds, **fields))

        return self._named(blocking if service.mode is Blocking else call, self._method)


class Stream(_Method[_Fields, _Request], Generic[_Fields, _Request, _Answer]):
    """A method with any number of answers."""

    def __init__(
        self, request: Callable[_Fields, _Request], method: StubMethod[_Request, AsyncIterator[_Answer]]
    ) -> None:
        super().__init__(request)
        self._method = method

    @overload
    def __get__(self, service: None, owner: object) -> Self: ...
    @overload
    def __get__(
        self, service: Service[Awaited], owner: object
    ) -> Call[_Fields, _Request, AsyncGenerator[_Answer, None]]: ...
    @overload
    def __get__(
        self, service: Service[Blocking], owner: object
    ) -> Call[_Fields, _Request, Generator[_Answer, None, None]]: ...
    def __get__(self, service: Service[Any] | None, owner: object) -> Any:
        """The method of that service, to be called."""
        if service is None:
            return self

        def call(
            *args: object, timeout_seconds: float | None = None, **fields: object
        ) -> AsyncGenerator[_Answer, None]:
            message = self._message(args, fields)
            return service.connection.answers(service.stub, self._method, message, timeout_seconds=timeout_seconds)

        def blocking(
            *args: object, timeout_seconds: float | None = None, **fields: object
        ) -> Generator[_Answer, None, None]:
            return PORTAL.iterate(call(*args, timeout_seconds=timeout_seconds, **fields))

        return self._named(blocking if service.mode is Blocking else call, self._method)
