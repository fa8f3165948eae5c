"""JSON from a text stream, value by value, so that a file larger than the memory can be read."""

import json
import re
from collections.abc import Collection, Iterator
from typing import Final, NoReturn, TextIO

from agent_tracer.server import limits
from agent_tracer.server.cli.formats.detect import ContentError

_CHUNK_CHARACTERS: Final = 64 * 1024
_BLANKS: Final = re.compile(r"[ \t\r\n]*")


def _refuse_constant(_name: str) -> NoReturn:
    raise ContentError('it is not JSON: NaN and Infinity are written as text, "NaN"')


class JsonStream:
    """A pull parser. Each method raises ContentError where the text is not JSON or one value is too large."""

    def __init__(self, text: TextIO) -> None:
        self._source = text
        self._text = ""
        self._at = 0
        self._before = 0  # characters of the source that lie before _text
        self._decoder = json.JSONDecoder(parse_constant=_refuse_constant)

    def peek(self) -> str:
        """The next character that is not blank; empty at the end."""
        while True:
            match = _BLANKS.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read_more():
                return ""

    def skip(self, character: str) -> None:
        """Step over this character, which must come next."""
        if self.peek() != character:
            self.fail(f"expected {character}")
        self._at += 1

    def skip_if(self, character: str) -> bool:
        """Step over this character if it comes next."""
        found = self.peek() == character
        self._at += found
        return found

    def value(self) -> object:
        """The next value, whole."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._read_more():
                    self.fail(error.msg, error.pos)
                continue
            except RecursionError:
                self.fail("arrays and objects nest too deeply")
            except ContentError:
                raise
            except ValueError:
                self.fail("a number has too many digits")
            # a number at the end of the window may go on behind it
            if end == len(self._text) and self._text[-1] not in '}]"' and self._read_more():
                continue
            self._at = end
            return value

    def elements(self) -> Iterator[object]:
        """The elements of the array that comes next."""
        self.skip("[")
        if self.skip_if("]"):
            return
        while True:
            yield self.value()
            if not self.skip_if(","):
                break
        self.skip("]")

    def _read_more(self) -> bool:
        held = len(self._text) - self._at
        if held >= limits.IMPORT_ITEM_BYTES_MAX:
            self.fail(f"one value is larger than {limits.IMPORT_ITEM_BYTES_MAX} bytes")
        # doubling keeps the work of decoding a large value again linear
        chunk = self._source.read(max(_CHUNK_CHARACTERS, held))
        if chunk:
            self._before += self._at
            self._text = self._text[self._at :] + chunk
            self._at = 0
        return bool(chunk)

    def fail(self, reason: str, position: int | None = None) -> NoReturn:
        """Raise ContentError, naming the place."""
        at = self._before + (self._at if position is None else position)
        raise ContentError(f"it is not valid JSON: {reason} at character {at}")


def entries(text: TextIO, streamed: Collection[str]) -> Iterator[tuple[str, object]]:
    """What the documents of `text` hold, in small pieces.

    An object gives ("resourceSpans", element) for each element of an array whose key is in `streamed`, and
    then ("", the object with those arrays empty); an array gives ("", element) for each element.
    """
    stream = JsonStream(text)
    while start := stream.peek():
        if start == "[":
            for element in stream.elements():
                yield "", element
        elif start == "{":
            yield from _members(stream, streamed)
        else:
            stream.fail("expected { or [")


def _members(stream: JsonStream, streamed: Collection[str]) -> Iterator[tuple[str, object]]:
    rest: dict[str, object] = {}
    stream.skip("{")
    more = not stream.skip_if("}")
    while more:
        key = stream.value()
        if not isinstance(key, str):
            stream.fail("expected a string as key")
        stream.skip(":")
        if key in streamed and stream.peek() == "[":
            rest[key] = []
            for element in stream.elements():
                yield key, element
        else:
            rest[key] = stream.value()
        more = stream.skip_if(",")
        if not more:
            stream.skip("}")
    yield "", rest
