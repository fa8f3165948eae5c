"""Any telemetry file as export requests, in bounded memory."""

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from agent_tracer.server import limits
from agent_tracer.server.cli.formats.batches import Batcher
from agent_tracer.server.cli.formats.detect import (
    EXPECTED,
    HEAD_BYTES,
    ContentError,
    Encoding,
    FormatError,
    detect,
    open_plain,
)
from agent_tracer.server.cli.formats.jaeger import JaegerError, is_trace, resource_spans
from agent_tracer.server.cli.formats.json_stream import entries
from agent_tracer.server.cli.formats.otlp_files import (
    JSON_KEYS,
    Block,
    blocks_of_document,
    blocks_of_protobuf,
)
from agent_tracer.server.domain.otlp_json import OtlpJsonError
from agent_tracer.server.domain.signals import Signal

_JAEGER_KEY: Final = "data"
_STREAMED: Final = frozenset((*JSON_KEYS, _JAEGER_KEY))
_DAMAGED_GZIP: Final = (EOFError, zlib.error, gzip.BadGzipFile)


def read_requests(
    source: Path | BinaryIO, *, batch_spans: int = limits.IMPORT_BATCH_SPANS
) -> Iterator[tuple[Signal, bytes]]:
    """The export requests of a file, serialised: at most `batch_spans` items and IMPORT_BATCH_BYTES each.

    Only a single item larger than that makes a larger request. The format is told from the content: OTLP
    protobuf, OTLP/JSON or Jaeger JSON, plain or gzip. An open binary file as `source` is closed in the end.
    Reads as it is iterated, so requests before a damaged place are given before the error: FormatError, whose
    message names the file. OSError where the file cannot be read.
    """
    name = Path(str(getattr(source, "name", "the input"))).name
    batchers: dict[Signal, Batcher] = {}
    with source.open("rb") if isinstance(source, Path) else source as raw:
        for signal, block in _blocks(raw, name):
            batcher = batchers.get(signal)
            if batcher is None:
                batcher = batchers[signal] = Batcher(signal, batch_spans, limits.IMPORT_BATCH_BYTES)
            for request in batcher.add(block):
                yield signal, request
    for signal, batcher in batchers.items():
        for request in batcher.flush():
            yield signal, request


def _blocks(raw: BinaryIO, name: str) -> Iterator[Block]:
    try:
        stream = open_plain(raw)
        encoding = detect(stream.peek(HEAD_BYTES)[:HEAD_BYTES])
        if encoding is Encoding.JSON:
            yield from _blocks_of_json(io.TextIOWrapper(stream, encoding="utf-8-sig"))
        else:
            yield from blocks_of_protobuf(stream, encoding)
    except (ContentError, OtlpJsonError, JaegerError) as error:
        raise FormatError(f"{name}: {error}") from None
    except UnicodeDecodeError:
        raise FormatError(f"{name}: it is not UTF-8; expected {EXPECTED}") from None
    except _DAMAGED_GZIP:
        raise FormatError(f"{name}: its gzip data is damaged or cut off") from None


def _blocks_of_json(text: io.TextIOWrapper) -> Iterator[Block]:
    known = False
    for number, (key, value) in enumerate(entries(text, _STREAMED), start=1):
        try:
            yield from _blocks_of_entry(key, value)
        except (OtlpJsonError, JaegerError) as error:
            raise ContentError(f"entry {number}: {error}") from None
        known = known or bool(key) or is_trace(value) or _has_known_key(value)
    if not known:
        raise ContentError(f"it is JSON, but neither OTLP nor Jaeger; expected {EXPECTED}")


def _blocks_of_entry(key: str, value: object) -> Iterator[Block]:
    if key in JSON_KEYS:
        yield from blocks_of_document(key, [value])
    elif key == _JAEGER_KEY or is_trace(value):
        yield from ((Signal.TRACES, block) for block in resource_spans(value))
    elif isinstance(value, dict):  # a document in an array of documents
        for inner in JSON_KEYS.keys() & value.keys():
            yield from blocks_of_document(inner, value[inner])


def _has_known_key(value: object) -> bool:
    return isinstance(value, dict) and not _STREAMED.isdisjoint(value)
