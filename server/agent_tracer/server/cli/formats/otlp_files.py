"""OTLP files: protobuf (one message, or many each after its length) and OTLP/JSON lines."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO, Final

from google.protobuf.message import DecodeError

from agent_tracer.server.cli.formats import wire
from agent_tracer.server.cli.formats.batches import LAYOUTS
from agent_tracer.server.cli.formats.detect import ContentError, Encoding
from agent_tracer.server.domain.otlp_json import (
    REQUEST_TYPES,
    Request,
    format_request,
    parse_document,
)
from agent_tracer.server.domain.signals import Signal

JSON_KEYS: Final[Mapping[str, Signal]] = {
    "resourceSpans": Signal.TRACES,
    "resourceLogs": Signal.LOGS,
    "resourceMetrics": Signal.METRICS,
}
"""The key of an OTLP/JSON document's one array, and what it holds."""

Block = tuple[Signal, Any]
"""A ResourceSpans, ResourceLogs or ResourceMetrics with its signal."""

_RESOURCE_TAG: Final = 0x0A


def blocks_of_document(key: str, elements: list[object]) -> Iterator[Block]:
    """The blocks of some elements of a document's array `key`. Raises OtlpJsonError."""
    signal = JSON_KEYS[key]
    request = parse_document(signal, {key: elements})
    for block in getattr(request, LAYOUTS[signal].resources):
        yield signal, block


def blocks_of_protobuf(stream: BinaryIO, encoding: Encoding) -> Iterator[Block]:
    """The blocks of a stream in one of the three protobuf encodings. Raises ContentError.

    Each message names its own signal, so a file may mix them.
    """
    payloads, signal_of = _PAYLOADS[encoding]
    number = 0
    try:
        for payload in payloads(stream):
            number += 1
            signal = signal_of(payload)
            if signal is None:
                continue
            request: Any = REQUEST_TYPES[signal]()
            blocks = getattr(request, LAYOUTS[signal].resources)
            (blocks.add() if encoding is Encoding.MESSAGE else request).MergeFromString(payload)
            for block in blocks:
                yield signal, block
    except wire.WireError as error:
        raise ContentError(f"after message {number}: {error}; expected OTLP protobuf") from None
    except DecodeError:
        raise ContentError(f"message {number} is not an OTLP trace, log or metric request") from None


def _resources(stream: BinaryIO) -> Iterator[bytes]:
    return wire.delimited(stream, tag=_RESOURCE_TAG)


_PAYLOADS: Final[
    Mapping[
        Encoding,
        tuple[Callable[[BinaryIO], Iterator[bytes]], Callable[[bytes], Signal | None]],
    ]
] = {
    # the fields of one message are read one by one: the message may be larger than the memory
    Encoding.MESSAGE: (_resources, wire.signal_of_resource),
    Encoding.DELIMITED: (wire.delimited, wire.signal_of_request),
    Encoding.FRAMED: (wire.framed, wire.signal_of_request),
}


def write_otlp_json(out: BinaryIO, requests: Iterable[Request]) -> None:
    """Write one OTLP/JSON document a line, as the OpenTelemetry Collector's file exporter does."""
    out.writelines(format_request(request) + b"\n" for request in requests)


def write_otlp_protobuf(out: BinaryIO, requests: Iterable[Request]) -> None:
    """Write protobuf messages, each after its length as a varint. Empty requests are left out."""
    for request in requests:
        payload = request.SerializeToString()
        if payload:
            out.write(wire.length_prefix(len(payload)) + payload)
