"""One POST over HTTP, on the standard library: no redirect is followed, and whatever goes wrong is a PostError."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPException, HTTPResponse, InvalidURL
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.parse import urljoin
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from agent_tracer.client._shared.credentials import split_credentials
from agent_tracer.client._shared.shown import without_secrets

__all__ = ["REDIRECTS", "Answer", "PostError", "post"]

REDIRECTS: Final = range(300, 400)
_SHOWN_CHARACTERS_MAX: Final = 200
"""Of an address that a server sends on to, which may be as long as a header."""
_WHY: Final[tuple[tuple[type[Exception], str], ...]] = (
    (URLError, "not reached"),
    (InvalidURL, "its address is none"),
    (HTTPException, "no whole answer"),
    (OSError, "no whole answer"),
    (ValueError, "its address or a header holds what HTTP cannot carry"),
)
"""The first kind that a failure is of says what is told of it."""


class PostError(Exception):
    """A request that was not answered, or not with success. The text says so, without what was sent or to whom.

    `status` is HTTP's, 0 where no whole answer came. The cause is a TimeoutError where the answer came too late.
    """

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer of success. The body is empty where none was asked for."""

    status: int
    body: bytes = field(repr=False)


def post(url: str, body: bytes, headers: Mapping[str, str], *, seconds: float, bytes_max: int = 0) -> Answer:
    """Post to an http or https URL; user and password in it become basic authentication.

    Args:
        url: Where to.
        body: What.
        headers: With it. `authorization` gives way to the URL's user.
        seconds: How long each step of the way may take.
        bytes_max: How long a body may be that is read; 0 reads none.

    Raises:
        PostError: No whole answer with a status from 200 to 299 came. Nothing else is raised.
    """
    try:
        address, credentials = split_credentials(url)
        request = Request(address, data=body, headers={**headers, **credentials}, method="POST")  # noqa: S310 - the opener knows HTTP alone
        with _opener().open(request, timeout=seconds) as answer:
            return Answer(answer.status, _whole(answer, bytes_max) if bytes_max else b"")
    except HTTPError as error:
        with error:
            raise PostError(_refused(error, address), error.code) from None
    except (HTTPException, OSError, ValueError) as error:
        raise _unanswered(error, seconds) from _told_cause(error)


@cache
def _opener() -> OpenerDirector:
    """As urlopen's, but for redirects: those would take the headers to another host, and leave the body behind."""
    made = OpenerDirector()
    for handler in (
        ProxyHandler(),
        UnknownHandler(),
        HTTPHandler(),
        HTTPSHandler(),
        HTTPDefaultErrorHandler(),
        HTTPErrorProcessor(),
    ):
        made.add_handler(handler)
    return made


def _whole(answer: HTTPResponse, bytes_max: int) -> bytes:
    body = answer.read(bytes_max + 1)
    if len(body) > bytes_max:
        raise PostError(f"an answer of more than {bytes_max} bytes")
    if answer.length:  # what Content-Length promised besides; http.client says nothing of that
        raise PostError("no whole answer")
    return body


def _refused(error: HTTPError, address: str) -> str:
    to = error.headers.get("Location") if error.code in REDIRECTS else None
    if not to:
        return f"answered {error.code}"
    with suppress(ValueError):  # what is no address is shown as it came
        to = urljoin(address, to)
    shown = "".join(filter(str.isprintable, without_secrets(to)))[:_SHOWN_CHARACTERS_MAX]
    return f"answered {error.code}, a redirect to {shown}, which is not followed; write the address that it leads to"


def _unanswered(error: Exception, seconds: float) -> PostError:
    if _is_late(error):
        return PostError(f"no answer within {seconds:g} s")
    return PostError(next(text for kind, text in _WHY if isinstance(error, kind)))


def _told_cause(error: Exception) -> Exception | None:
    """What a traceback may show. A ValueError's text holds the header that it complains of."""
    if _is_late(error):
        return TimeoutError()
    return None if isinstance(error, ValueError | InvalidURL) else error


def _is_late(error: Exception) -> bool:
    return isinstance(getattr(error, "reason", error), TimeoutError)
