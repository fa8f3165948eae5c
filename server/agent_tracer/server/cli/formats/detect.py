"""Which format a file has, told from its first bytes and never from its name."""

import gzip
import io
import re
from enum import Enum
from typing import Any, BinaryIO, Final

from agent_tracer.server.cli.formats.wire import LENGTH_DELIMITED, WireError, varint


class ContentError(ValueError):
    """What a file holds is not what its format demands; the message says where, and repeats none of it."""


class FormatError(ValueError):
    """A file that cannot be imported: the message names the file, what was expected and what was wrong."""


class Encoding(Enum):
    """How the messages lie in a file."""

    JSON = "JSON"
    MESSAGE = "one protobuf message"
    DELIMITED = "protobuf messages, each after its length as a varint"
    FRAMED = "protobuf messages, each after its length in 4 bytes, as the Collector's file exporter writes"


EXPECTED: Final = (
    "OTLP JSON (a document or one a line), OTLP protobuf (one message or length-delimited ones) "
    "or Jaeger JSON, plain or gzip"
)

HEAD_BYTES: Final = 512

_GZIP_MAGIC: Final = b"\x1f\x8b"
_JSON_START: Final = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*[{\[]")
_CONTROL: Final = re.compile(rb"[^\t\n\r\x20-\xff]")
_REQUEST_TAG: Final = 1 << 3 | LENGTH_DELIMITED  # the one field of every export request
_RESOURCE_TAGS: Final = frozenset(number << 3 | LENGTH_DELIMITED for number in (1, 2, 3))
_FRAME_BYTES: Final = 4


def open_plain(raw: BinaryIO) -> "io.BufferedReader[Any]":
    """The stream, decompressed if it is gzip."""
    buffered: io.BufferedReader[Any] = io.BufferedReader(raw)
    if buffered.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC):
        return io.BufferedReader(gzip.GzipFile(fileobj=buffered))
    return buffered


def detect(head: bytes) -> Encoding:
    """The encoding of a stream that begins with `head` (HEAD_BYTES, or all). Raises ContentError for none."""
    if not head.strip():
        raise ContentError(f"it is empty; expected {EXPECTED}")
    # a length prefix can look like a brace, but then control bytes follow, which JSON does not have
    if _JSON_START.match(head) and not _CONTROL.search(head):
        return Encoding.JSON
    try:
        protobuf = _detect_protobuf(head)
    except WireError:
        protobuf = None
    if protobuf is None:
        raise ContentError(f"expected {EXPECTED}")
    return protobuf


def _detect_protobuf(head: bytes) -> Encoding | None:
    if head[0] == 0 and head[_FRAME_BYTES : _FRAME_BYTES + 1] == bytes([_REQUEST_TAG]):
        return Encoding.FRAMED
    if head[0] == _REQUEST_TAG and _starts_resource(head, 1):
        return Encoding.MESSAGE
    size, at = varint(head, 0)
    if size and head[at : at + 1] == bytes([_REQUEST_TAG]) and _starts_resource(head, at + 1):
        return Encoding.DELIMITED
    return None


def _starts_resource(head: bytes, at: int) -> bool:
    size, start = varint(head, at)
    return size == 0 or (start < len(head) and head[start] in _RESOURCE_TAGS)
