"""Garbage on every port of the started server: a clear error or a closed connection, and no neighbour notices."""

import gzip
import random
import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from typing import Final

import grpc
import httpx
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from prometheus_client.parser import text_string_to_metric_families

from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import HTTP_HEADER_SECONDS_MAX, MESSAGE_BYTES_MAX
from tests.fixtures.load import METHODS, REQUESTS, Load, export_calls
from tests.fixtures.loading import poisoned
from tests.fixtures.program import Program, running_program
from tests.fixtures.stored import assert_all_there_once, stored

MIB: Final = 2**20
PORTS: Final = ("otlp_grpc", "grpc", "otlp_http", "rest", "ace", "atlas", "metrics")
GRPC_PORTS: Final = ("otlp_grpc", "grpc", "rest")
OTLP_HTTP_PORTS: Final = ("otlp_http", "rest")
PROTOBUF: Final = {"content-type": "application/x-protobuf"}
JSON: Final = {"content-type": "application/json"}
GROWTH_BYTES_MAX: Final = 300 * MIB
"""Memory that the server may still hold after a bomb; inflated ones are a hundred times this."""
ANSWER_SECONDS: Final = 60.0
CUT_OFF_SECONDS: Final = HTTP_HEADER_SECONDS_MAX + ANSWER_SECONDS


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """One server for all of these tests, under a light load that must not lose anything."""
    with running_program(tmp_path_factory.mktemp("garbage")) as program:
        with Load(program.target, senders=1, requests_max=1_000_000) as load:
            load.wait_for_more(50)
            yield program
            load.wait_for_more(50)
        assert load.refused == {}, "valid requests beside the garbage"
        assert program.process is not None
        assert program.process.poll() is None
        assert program.stop() == 0
        assert_all_there_once(load, program.folder / "data", alone=False)
    for sign in ("Traceback", "call_failed", "a part of the server failed"):
        assert sign not in program.log


def port_of(program: Program, name: str) -> int:
    port: int = getattr(program, name)
    return port


def url_of(program: Program, name: str, path: str) -> str:
    return f"http://127.0.0.1:{port_of(program, name)}{path}"


def still_answers(program: Program) -> None:
    """Every port, over its own protocol."""
    for name in PORTS[2:]:
        path = {"otlp_http": "/v1/traces"}.get(name, "/healthz")
        assert httpx.get(url_of(program, name, path), timeout=ANSWER_SECONDS).status_code in (200, 404, 405), name
    for name in ("otlp_grpc", "grpc"):
        assert export(program, name, valid_request()) is None, name


def export(program: Program, name: str, payload: bytes, signal: Signal = Signal.TRACES) -> grpc.RpcError | None:
    """The refusal; None where it was taken."""
    with grpc.insecure_channel(f"127.0.0.1:{port_of(program, name)}") as channel:
        try:
            export_calls(channel)[signal](payload, timeout=ANSWER_SECONDS)
        except grpc.RpcError as error:
            return error
    return None


_numbers = iter(range(1_000_000))


def valid_request(signal: Signal = Signal.TRACES, items: int = 1) -> bytes:
    first = next(_numbers)
    return REQUESTS[signal]([f"garbage-{first}-{n}" for n in range(items)]).SerializeToString()


def raw(port: int, *chunks: bytes, seconds: float = 2, half_close: bool = True) -> bytes:
    """Send, then read whatever comes back until the other side closes or says nothing more."""
    answer = b""
    with closing(socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS)) as sender, suppress(OSError):
        sender.settimeout(seconds)
        for chunk in chunks:
            sender.sendall(chunk)
        if half_close:
            sender.shutdown(socket.SHUT_WR)
        while piece := sender.recv(65536):
            answer += piece
    return answer


PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS_FRAME: Final = b"\0\0\0\4\0\0\0\0\0"


def frame(kind: int, flags: int, stream: int, content: bytes, length: int | None = None) -> bytes:
    size = len(content) if length is None else length
    return struct.pack(">I", size)[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + content


GARBAGE: Final[dict[str, tuple[bytes, ...]]] = {
    "nothing": (),
    "noise": (random.Random(1).randbytes(10_000),),
    "nul": (bytes(5_000),),
    "tls": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + random.Random(2).randbytes(500),),
    "no_http": (b"EHLO mail\r\n" * 50,),
    "cut_off": (b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-le",),
    "body_cut_off": (b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\nabc",),
    "huge_header": (b"GET / HTTP/1.1\r\nhost: x\r\nx-a: " + b"a" * 500_000 + b"\r\n\r\n",),
    "many_headers": (b"GET / HTTP/1.1\r\nhost: x\r\n" + b"x-a: b\r\n" * 50_000 + b"\r\n",),
    "bad_chunks": (b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",),
    "two_lengths": (b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 9\r\n\r\nabc",),
    "length_and_chunks": (
        b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    "nul_in_path": (b"GET /v1/\0traces HTTP/1.1\r\nhost: x\r\n\r\n",),
    "bad_utf8_in_path": (b"GET /v1/\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",),
    "path_tricks": (b"GET /../../../../etc/passwd HTTP/1.1\r\nhost: x\r\n\r\n",),
    "h2_noise": (PREFACE, SETTINGS_FRAME, random.Random(3).randbytes(20_000)),
    "h2_huge_frame": (PREFACE, SETTINGS_FRAME, frame(0, 0, 1, b"x" * 1_000, length=0xFFFFFF)),
    "h2_data_without_headers": (PREFACE, SETTINGS_FRAME, frame(0, 1, 1, b"x" * 100)),
    "h2_bad_hpack": (PREFACE, SETTINGS_FRAME, frame(1, 4, 1, b"\xff" * 500)),
    "h2_endless_continuation": (
        PREFACE,
        SETTINGS_FRAME,
        frame(1, 0, 1, b"\x82"),
        *(frame(9, 0, 1, b"\0\1a\1b" * 2_000) for _ in range(60)),
    ),
    "h2_ping_flood": (PREFACE, SETTINGS_FRAME, frame(6, 0, 0, bytes(8)) * 5_000),
    "h2_settings_flood": (PREFACE, SETTINGS_FRAME * 5_000),
}


@pytest.mark.parametrize("port", PORTS)
def test_bytes_that_are_no_request_harm_nobody(target: Program, port: str) -> None:
    with ThreadPoolExecutor(8) as several:
        answers = list(several.map(lambda chunks: raw(port_of(target, port), *chunks), GARBAGE.values()))
    for name, answer in zip(GARBAGE, answers, strict=True):
        assert b"Traceback" not in answer, name
        assert b"root:" not in answer, name
        assert not answer.startswith(b"HTTP/1.1 5"), (name, answer[:200])
    still_answers(target)


@pytest.mark.parametrize("port", GRPC_PORTS)
def test_a_rapid_reset_of_streams_is_borne(target: Program, port: str) -> None:
    with closing(socket.create_connection(("127.0.0.1", port_of(target, port)), ANSWER_SECONDS)) as sender:
        connection = H2Connection(H2Configuration(client_side=True))
        connection.initiate_connection()
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "x"),
            (":path", METHODS[Signal.TRACES]),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ]
        with suppress(OSError):  # being cut off is an answer
            for number in range(2_000):
                stream = 2 * number + 1
                connection.send_headers(stream, headers)
                connection.reset_stream(stream, 8)
                if number % 50 == 0:
                    sender.sendall(connection.data_to_send())
            sender.sendall(connection.data_to_send())
    still_answers(target)


def test_slow_senders_hold_up_nobody_and_are_cut_off(target: Program) -> None:
    senders = []
    for name in PORTS:
        for _ in range(20):
            sender = socket.create_connection(("127.0.0.1", port_of(target, name)), CUT_OFF_SECONDS)
            sender.sendall(b"P")
            senders.append((name, sender))
    try:
        still_answers(target)
        for name, sender in senders:
            if "grpc" not in name:  # these wait for a preface as long as gRPC's handshake may take
                with suppress(ConnectionResetError):
                    while sender.recv(65536):
                        pass
    finally:
        for _, sender in senders:
            sender.close()


# What is well framed and has bad content.

NOT_PROTOBUF: Final = {
    "noise": random.Random(4).randbytes(1_000),
    "nul": bytes(100),
    "cut_off": valid_request()[:-7],
    "bad_utf8": valid_request().replace(b"garbage", b"\xff\xfe\xfdbage"),
    "json": b'{"resourceSpans": []}',
    "text": b"hello",
}


@pytest.mark.parametrize("signal", list(Signal))
@pytest.mark.parametrize("content", NOT_PROTOBUF)
def test_a_message_that_is_no_request_is_refused_over_grpc(target: Program, content: str, signal: Signal) -> None:
    for port in GRPC_PORTS:
        error = export(target, port, NOT_PROTOBUF[content], signal)
        assert error is not None, port
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, (port, error)


@pytest.mark.parametrize("port", OTLP_HTTP_PORTS)
@pytest.mark.parametrize("content", NOT_PROTOBUF)
def test_a_body_that_is_no_request_is_refused_over_http(target: Program, port: str, content: str) -> None:
    for path in ("/v1/traces", "/v1/logs", "/v1/metrics"):
        url, body = url_of(target, port, path), NOT_PROTOBUF[content]
        answer = httpx.post(url, content=body, headers=PROTOBUF, timeout=ANSWER_SECONDS)
        assert answer.status_code == 400, (path, answer.text)


BAD_BODIES: Final[dict[str, tuple[bytes, dict[str, str], set[int]]]] = {
    "no_gzip": (b"not gzip", {**PROTOBUF, "content-encoding": "gzip"}, {400}),
    "cut_off_gzip": (gzip.compress(valid_request())[:-9], {**PROTOBUF, "content-encoding": "gzip"}, {400}),
    "unknown_coding": (b"x", {**PROTOBUF, "content-encoding": "br"}, {400, 415}),
    "unknown_type": (b"x", {"content-type": "text/plain"}, {415}),
    "no_json": (b"{", JSON, {400}),
    "deep_json": (b"[" * 200_000, JSON, {400}),
    "deep_objects": (b'{"a":' * 100_000, JSON, {400}),
    "json_of_another_kind": (b'{"resourceSpans": 7}', JSON, {400}),
    "json_not_utf8": (b'{"resourceSpans": "\xff\xfe"}', JSON, {400}),
    "json_with_lone_surrogate": (b'{"resourceSpans":[{"schemaUrl":"\\ud800"}]}', JSON, {400}),
    "json_huge_number": (b'{"resourceSpans": ' + b"9" * 100_000 + b"}", JSON, {400}),
    "too_long": (bytes(MESSAGE_BYTES_MAX + MIB), PROTOBUF, {413}),
    "bomb": (b"", {**PROTOBUF, "content-encoding": "gzip"}, {400, 413}),
}


@cache
def bomb() -> bytes:
    """Not at import, for it takes seconds."""
    return gzip.compress(bytes(600 * MIB), 9)


@pytest.mark.parametrize("port", OTLP_HTTP_PORTS)
@pytest.mark.parametrize("body", BAD_BODIES)
def test_a_bad_body_gets_the_error_of_its_kind_and_takes_no_memory(target: Program, port: str, body: str) -> None:
    content, headers, expected = BAD_BODIES[body]
    content = content or bomb()
    before = resident_bytes(target)
    with httpx.Client(timeout=ANSWER_SECONDS) as client:
        try:
            answer = client.post(url_of(target, port, "/v1/traces"), content=content, headers=headers)
        except (httpx.WriteError, httpx.RemoteProtocolError, httpx.ReadError):
            assert 413 in expected, "only what is too long may be broken off before the end"
        else:
            assert answer.status_code in expected, answer.text
    assert resident_bytes(target) - before < GROWTH_BYTES_MAX


def resident_bytes(program: Program) -> int:
    for line in Path(f"/proc/{program.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    pytest.fail("no VmRSS")


@pytest.mark.parametrize("port", ["otlp_grpc", "grpc"])
@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_a_message_past_the_limit_is_refused_over_grpc_compressed_or_not(
    target: Program, port: str, compression: grpc.Compression
) -> None:
    size = 17 * MIB if compression is grpc.Compression.NoCompression else 400 * MIB
    before = resident_bytes(target)
    with grpc.insecure_channel(f"127.0.0.1:{port_of(target, port)}", compression=compression) as channel:
        with pytest.raises(grpc.RpcError) as raised:
            export_calls(channel)[Signal.TRACES](bytes(size), timeout=5 * ANSWER_SECONDS)  # compressing takes long
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert resident_bytes(target) - before < GROWTH_BYTES_MAX


@pytest.mark.parametrize("port", GRPC_PORTS)
def test_huge_metadata_is_refused(target: Program, port: str) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{port_of(target, port)}") as channel:
        with pytest.raises(grpc.RpcError) as raised:
            call = export_calls(channel)[Signal.TRACES]
            call(valid_request(), metadata=(("x-long", "a" * 200_000),), timeout=ANSWER_SECONDS)
    # Envoy ends the connection instead of the call.
    assert raised.value.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)


REST_BODIES: Final[dict[str, tuple[bytes, set[int]]]] = {
    "no_json": (b"{", {400}),
    "noise": (random.Random(5).randbytes(500), {400}),
    "unknown_field": (b'{"no_such_field": 1}', {400}),
    "wrong_kind": (b'{"trace_id": {"a": 1}}', {400}),
    "deep": (b'{"metadata":' + b'{"a":' * 50_000, {400}),
    "too_long": (b'{"trace_id": "' + b"a" * (17 * MIB) + b'"}', {400, 413}),
    "empty": (b"", {400}),
}


@pytest.mark.parametrize("body", REST_BODIES)
def test_a_bad_rest_body_is_refused(target: Program, body: str) -> None:
    content, expected = REST_BODIES[body]
    answer = httpx.post(f"{target.url}/api/v1/traces", content=content, headers=JSON, timeout=ANSWER_SECONDS)
    assert answer.status_code in expected, answer.text[:500]
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("port", ["rest", "ace", "atlas", "metrics", "otlp_http"])
@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/traces/%00",
        "/api/v1/traces/..%2f..%2f..%2fetc%2fpasswd",
        "/api/v1/traces/%ff%fe",
        "/api/v1/traces?page_size=99999999999999999999",
        "/api/v1/traces?page_token=%27%3B%20DROP%20TABLE%20spans",
        "/" + "a" * 20_000,
        "/%",
    ],
    ids=lambda path: path[:30],
)
def test_a_bad_path_is_the_callers_fault(target: Program, port: str, path: str) -> None:
    head = f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    answer = raw(port_of(target, port), head.encode(), seconds=ANSWER_SECONDS, half_close=False)
    assert answer.startswith(b"HTTP/1.1 4"), answer[:300]


def test_thousands_of_tiny_requests_all_arrive(target: Program) -> None:
    payloads = [valid_request() for _ in range(2_000)]
    before = metric(target, "stored", signal="traces")
    with grpc.insecure_channel(target.target) as channel:
        call = export_calls(channel)[Signal.TRACES]
        futures = [call.future(payload, timeout=ANSWER_SECONDS) for payload in payloads]
        for future in futures:
            future.result()
    until(lambda: metric(target, "stored", signal="traces") - before >= len(payloads))


def metric(program: Program, name: str, **labels: str) -> float:
    """A counter's value, over all labels that are not given."""
    text = httpx.get(url_of(program, "metrics", "/metrics"), timeout=ANSWER_SECONDS).text
    wanted = f"agent_tracer_{name}_total"
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == wanted and labels.items() <= sample.labels.items()
    )


def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.1)


ENDS: Final = ("stored", "quarantined")


def assert_balanced(program: Program) -> None:
    """Nothing is unaccounted for, once the loader has caught up."""
    for signal in ("traces", "logs", "metrics"):
        accepted = metric(program, "accepted", signal=signal)
        assert metric(program, "received", signal=signal) == accepted + metric(program, "rejected", signal=signal)
        until(lambda a=accepted, s=signal: a == sum(metric(program, end, signal=s) for end in ENDS))  # type: ignore[misc]


def test_a_request_that_only_the_store_refuses_goes_to_quarantine_and_its_neighbours_are_stored(tmp_path: Path) -> None:
    with running_program(tmp_path) as program:
        names = [f"neighbour-{n}" for n in range(40)]
        payloads = [REQUESTS[Signal.TRACES]([name]).SerializeToString() for name in names]
        payloads[7:7] = [poisoned(REQUESTS[Signal.TRACES](["bad"]).SerializeToString())]
        with grpc.insecure_channel(program.target) as channel:
            call = export_calls(channel)[Signal.TRACES]
            for future in [call.future(payload, timeout=ANSWER_SECONDS) for payload in payloads]:
                future.result()
        assert_balanced(program)
        assert metric(program, "quarantined_requests") == 1
        assert program.stop() == 0
        found = stored(program.folder / "data")
        assert found.items[Signal.TRACES] == dict.fromkeys(names, 1)
        assert dict(found.quarantine) == {"the bytes are no protobuf of this kind": 1}
