"""A function of any kind with a span around each of its calls: plain, async, generator, async generator."""

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, Final

from agent_tracer.client.telemetry import contents
from agent_tracer.client.telemetry.limits import STREAMED_ITEMS_MAX
from agent_tracer.client.telemetry.scopes import Scope

__all__ = ["Opening", "wrap"]

Opening = Callable[[], Scope]
"""Begins a span for one call."""

_Function = Callable[..., Any]


def wrap(function: Any, opening: Opening) -> Any:  # noqa: ANN401 - whatever was decorated
    """The same kind of function; its exceptions and results pass unchanged.

    A generator's span lasts from its first step to its end, and is current only while it runs: what its consumer does
    between two steps is not under it.
    """
    if isinstance(function, staticmethod | classmethod):
        return type(function)(wrap(function.__func__, opening))
    if isinstance(function, type) or not callable(function):
        return function
    routine = inspect.isroutine(function) or isinstance(function, functools.partial)
    called = function if routine else type(function).__call__
    for is_such, make in _KINDS:
        if is_such(called):
            return _named(make(function, opening, contents.parameter_names(function)), function)
    return _named(_plain(function, opening, contents.parameter_names(function)), function)


def _named(wrapper: _Function, function: _Function) -> _Function:
    return functools.update_wrapper(wrapper, function)


def _begin(opening: Opening, names: tuple[str, ...], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Scope:
    scope = opening()
    if scope.captures_content and (arguments or keywords):
        scope.set_input(contents.text_of_call(names, arguments, keywords))
    return scope


def _end(scope: Scope, result: object) -> None:
    if result is not None:
        scope.set_output(result)
    scope.finish()


def _plain(function: _Function, opening: Opening, names: tuple[str, ...]) -> _Function:
    def call(*arguments: Any, **keywords: Any) -> Any:  # noqa: ANN401 - as the function
        scope = _begin(opening, names, arguments, keywords)
        scope.enter()
        try:
            result = function(*arguments, **keywords)
        except BaseException as error:
            scope.leave()
            scope.finish(error)
            raise
        scope.leave()
        if inspect.iscoroutine(result):  # handed on by a plain function
            return _awaited(scope, result)
        _end(scope, result)
        return result

    return call


async def _awaited(scope: Scope, result: Any) -> Any:  # noqa: ANN401 - as the function
    scope.enter()
    try:
        value = await result
    except BaseException as error:
        scope.leave()
        scope.finish(error)
        raise
    scope.leave()
    _end(scope, value)
    return value


def _coroutine(function: _Function, opening: Opening, names: tuple[str, ...]) -> _Function:
    async def call(*arguments: Any, **keywords: Any) -> Any:  # noqa: ANN401 - as the function
        return await _awaited(_begin(opening, names, arguments, keywords), function(*arguments, **keywords))

    return call


def _generator(function: _Function, opening: Opening, names: tuple[str, ...]) -> _Function:
    def call(*arguments: Any, **keywords: Any) -> Generator[Any, Any, Any]:  # noqa: ANN401 - as the function
        scope, streamed = _begin(opening, names, arguments, keywords), _Streamed()
        generator = function(*arguments, **keywords)
        step: Callable[[], Any] = lambda: next(generator)  # noqa: E731 - replaced with each step
        while True:
            scope.enter()
            try:
                item = step()
            except StopIteration as stopped:
                scope.leave()
                streamed.tell(scope)
                scope.finish()
                return stopped.value
            except BaseException as error:
                scope.leave()
                streamed.tell(scope)
                scope.finish(error)
                raise
            scope.leave()
            streamed.add(item)
            try:
                sent = yield item
            except GeneratorExit:
                _close(scope, streamed, generator.close)
                raise
            except BaseException as error:  # noqa: BLE001 - thrown in, for the generator to handle
                step = functools.partial(generator.throw, error)
            else:
                step = functools.partial(generator.send, sent)

    return call


def _close(scope: Scope, streamed: "_Streamed", close: Callable[[], None]) -> None:
    scope.enter()
    try:
        close()
    finally:
        scope.leave()
        streamed.tell(scope)
        scope.finish()


def _async_generator(function: _Function, opening: Opening, names: tuple[str, ...]) -> _Function:
    async def call(*arguments: Any, **keywords: Any) -> AsyncGenerator[Any, Any]:  # noqa: ANN401 - as the function
        scope, streamed = _begin(opening, names, arguments, keywords), _Streamed()
        generator = function(*arguments, **keywords)
        step: Callable[[], Any] = generator.__anext__
        while True:
            scope.enter()
            try:
                item = await step()
            except StopAsyncIteration:
                scope.leave()
                streamed.tell(scope)
                scope.finish()
                return
            except BaseException as error:
                scope.leave()
                streamed.tell(scope)
                scope.finish(error)
                raise
            scope.leave()
            streamed.add(item)
            try:
                sent = yield item
            except GeneratorExit:
                scope.enter()
                try:
                    await generator.aclose()
                finally:
                    scope.leave()
                    streamed.tell(scope)
                    scope.finish()
                raise
            except BaseException as error:  # noqa: BLE001 - thrown in, for the generator to handle
                step = functools.partial(generator.athrow, error)
            else:
                step = functools.partial(generator.asend, sent)

    return call


class _Streamed:
    """The pieces of a stream, up to a bound: texts are told joined, anything else as a list."""

    __slots__ = ("_items",)

    def __init__(self) -> None:
        self._items: list[Any] = []

    def add(self, item: object) -> None:
        if len(self._items) < STREAMED_ITEMS_MAX:
            self._items.append(item)

    def tell(self, scope: Scope) -> None:
        if self._items and scope.captures_content:
            texts = all(isinstance(item, str) for item in self._items)
            scope.set_output("".join(self._items) if texts else self._items)


_KINDS: Final = (
    (inspect.iscoroutinefunction, _coroutine),
    (inspect.isasyncgenfunction, _async_generator),
    (inspect.isgeneratorfunction, _generator),
)
"""How each kind of function is recognised, and what wraps it."""
