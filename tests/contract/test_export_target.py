"""What every ExportTarget promises, against a backend on real sockets."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from agent_tracer.server.adapters.exporters.connection import (
    Connection,
    ConnectionSettingError,
    TlsFiles,
    TlsFilesError,
)
from agent_tracer.server.adapters.exporters.destination import destination, jaeger_destination
from agent_tracer.server.adapters.exporters.jaeger_thrift import JaegerThrift
from agent_tracer.server.adapters.exporters.otlp_grpc import OtlpGrpc
from agent_tracer.server.adapters.exporters.otlp_http import OtlpHttp
from agent_tracer.server.adapters.exporters.phoenix import Phoenix
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.ports.export import (
    BackendDownError,
    BackendFailedError,
    BackendGoneError,
    ExportRefusedError,
    ExportTarget,
    SignalNotTakenError,
)
from tests.fixtures.http2_proxy import running_proxy
from tests.fixtures.otlp_requests import log_record, logs_request, span, spans_of, trace_request
from tests.fixtures.ports import free_ports
from tests.fixtures.sink import Reply, Sink, running_sink, self_signed

KEY = "exporters.test"
ONE = trace_request(span(1)).SerializeToString()
TWO = trace_request(span(2)).SerializeToString()
NGINX = (
    b"<html>\r\n<head><title>400 The plain HTTP request was sent to HTTPS port</title></head>\r\n<body>\r\n"
    b"<center><h1>400 Bad Request</h1></center>\r\n<center>The plain HTTP request was sent to HTTPS port</center>\r\n"
)
APACHE = (
    b'<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">\n<html><head>\n<title>400 Bad Request</title>\n</head><body>\n'
    b"<h1>Bad Request</h1>\n<p>Your browser sent a request that this server could not understand.<br />\n"
    b"Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />\n"
    b" Instead use the HTTPS scheme to access this URL, please.<br />\n</p>\n</body></html>\n"
)


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with running_sink() as running:
        yield running


def made(kind: str, sink: Sink, **settings: object) -> ExportTarget:
    endpoint = sink.target if kind == "grpc" else sink.url
    if kind == "thrift":
        return JaegerThrift(Connection(KEY, jaeger_destination(f"{endpoint}/api/traces"), **settings))  # type: ignore[arg-type]
    where = destination(endpoint, "grpc" if kind == "grpc" else "http/protobuf")
    connection = Connection(KEY, where, **settings)  # type: ignore[arg-type]
    otlp: ExportTarget = OtlpGrpc(connection) if kind == "grpc" else OtlpHttp(connection)
    return Phoenix(otlp, "agents") if kind == "phoenix" else otlp


async def send(target: ExportTarget, *payloads: bytes) -> list[int]:
    """Everything that the payloads become; what was rejected of each request."""
    return [(await target.send(Signal.TRACES, request)).rejected for request in target.prepare(Signal.TRACES, payloads)]


@pytest.fixture(params=["http", "grpc", "phoenix", "thrift"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_what_is_sent_arrives_whole_and_in_order(kind: str, sink: Sink) -> None:
    async with aclosing(made(kind, sink)) as target:
        assert await send(target, ONE, TWO) == [0]
        (body,) = [body for _, body in sink.taken]
        if kind == "thrift":
            assert body.index(b"span 1") < body.index(b"span 2")
        else:
            assert sink.span_names == ["span 1", "span 2"]
        if kind in {"http", "grpc"}:
            assert body == ONE + TWO, "the bytes go out as they came in"


@pytest.mark.parametrize(
    ("status", "error"), [(503, BackendDownError), (500, BackendFailedError), (400, ExportRefusedError)]
)
async def test_a_status_is_later_or_never_as_the_specification_says(
    kind: str, sink: Sink, status: int, error: type[Exception]
) -> None:
    sink.replies.append(Reply(status))
    async with aclosing(made(kind, sink)) as target:
        with pytest.raises(error) as raised:
            await send(target, ONE)
        assert isinstance(raised.value, BackendFailedError) is (error is BackendFailedError)
        assert KEY in str(raised.value)
        assert not isinstance(raised.value, BackendGoneError), "one that answers is not gone"
        await send(target, ONE)
    assert len(sink.taken) == 1, "the next one goes through"


@pytest.mark.parametrize("kind", ["http", "thrift"])
@pytest.mark.parametrize("status", [408, 415, 502, 504, 507, 521, 530])
async def test_what_is_not_the_requests_fault_is_waited_for(kind: str, sink: Sink, status: int) -> None:
    sink.replies.append(Reply(status))
    async with aclosing(made(kind, sink)) as target:
        with pytest.raises(BackendDownError) as raised:
            await send(target, ONE)
    assert not isinstance(raised.value, BackendFailedError | SignalNotTakenError)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (302, BackendDownError),
        (404, SignalNotTakenError),
        (500, BackendFailedError),
        (502, BackendDownError),
        (521, BackendDownError),
    ],
)
async def test_a_proxys_answer_to_grpc_means_what_it_means_to_http(status: int, error: type[Exception]) -> None:
    async with (
        running_proxy(status) as endpoint,
        aclosing(OtlpGrpc(Connection(KEY, destination(endpoint, "grpc")))) as to,
    ):
        with pytest.raises(BackendDownError, match=f"HTTP {status}") as raised:
            await to.send(Signal.TRACES, (ONE,))
    assert type(raised.value) is error


async def test_a_path_that_nobody_serves_is_told_apart(kind: str, sink: Sink) -> None:
    sink.replies.append(Reply(404))
    async with aclosing(made(kind, sink)) as target:
        with pytest.raises(SignalNotTakenError):
            await send(target, ONE)


@pytest.mark.parametrize("kind", ["http", "phoenix", "thrift"])
async def test_a_web_page_is_no_answer_of_a_backend_whatever_its_status(kind: str, sink: Sink) -> None:
    sink.replies.append(Reply(200, body=b"<!DOCTYPE html>", content_type="text/html; charset=utf-8"))
    async with aclosing(made(kind, sink)) as target:
        with pytest.raises(SignalNotTakenError, match=rf"web page: see to {KEY}\.endpoint"):
            await send(target, ONE)


@pytest.mark.parametrize("kind", ["http", "thrift"])
@pytest.mark.parametrize(
    "answer",
    [
        b"Client sent an HTTP request to an HTTPS server.\n",
        b"<h1>The plain HTTP request was sent to HTTPS port",
        NGINX,
        APACHE,
    ],
)
async def test_a_backend_that_expects_tls_refuses_no_telemetry(kind: str, sink: Sink, answer: bytes) -> None:
    sink.replies.append(Reply(400, body=answer))
    async with aclosing(made(kind, sink)) as target:
        with pytest.raises(BackendDownError, match=rf"begin {KEY}\.endpoint with https://"):
            await send(target, ONE)


@pytest.mark.parametrize(
    "answer",
    [
        b'entry ignored, reason: "entry too far behind" for stream: {service_name="HTTPS-gateway"}',
        b"invalid label: Client sent an HTTP request to an HTTPS server.",
        b"Client sent an HTTP request to an HTTPS server.-gateway: unknown service",
        b"<p>unknown service <b>The plain HTTP request was sent to HTTPS port</b></p>",
        b"<p>unknown service SSL-enabled server port</p>",
    ],
)
async def test_an_item_that_names_tls_is_refused_alone(sink: Sink, answer: bytes) -> None:
    sink.replies.append(Reply(400, body=answer))
    async with aclosing(made("http", sink)) as target:
        with pytest.raises(ExportRefusedError):
            await send(target, ONE)


@pytest.mark.parametrize("kind", ["http", "grpc"])
async def test_an_empty_request_tells_whether_a_signal_is_taken(kind: str, sink: Sink) -> None:
    sink.lacks = {Signal.LOGS}
    async with aclosing(made(kind, sink)) as target:
        assert (await target.send(Signal.TRACES, (b"",))).rejected == 0
        with pytest.raises(SignalNotTakenError):
            await target.send(Signal.LOGS, (b"",))


async def test_a_connection_is_let_go_before_the_backend_closes_it(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent_tracer.server.adapters.exporters.posting.EXPORT_KEEPALIVE_SECONDS", 0.0)
    async with aclosing(made("http", sink)) as target:
        await send(target, ONE)
        await send(target, ONE)
    first, second = (seen[":client"] for seen in sink.seen)
    assert first != second
    monkeypatch.undo()
    async with aclosing(made("http", sink)) as target:
        await send(target, ONE)
        await send(target, ONE)
    first, second = (seen[":client"] for seen in sink.seen[2:])
    assert first == second, "and no sooner"


async def test_the_backends_pause_is_told(kind: str, sink: Sink) -> None:
    sink.replies.append(Reply(429, retry_seconds=7))
    async with aclosing(made(kind, sink)) as target:
        with pytest.raises(BackendDownError) as raised:
            await send(target, ONE)
    assert raised.value.retry_seconds == 7


async def test_a_request_that_is_too_large_is_refused_at_once(kind: str, sink: Sink) -> None:
    sink.replies.append(Reply(413))
    async with aclosing(made(kind, sink)) as target:
        with pytest.raises(ExportRefusedError):
            await send(target, ONE)


@pytest.mark.parametrize(("status", "advice"), [(401, "headers"), (404, "endpoint")])
async def test_what_the_settings_can_mend_is_waited_for_and_names_the_setting(
    kind: str, sink: Sink, status: int, advice: str
) -> None:
    sink.replies.append(Reply(status))
    async with aclosing(made(kind, sink)) as target:
        with pytest.raises(BackendDownError, match=rf"see to {KEY}\.{advice}"):
            await send(target, ONE)


async def test_partial_success_is_told_with_its_reason(kind: str, sink: Sink) -> None:
    if kind == "thrift":
        pytest.skip("Thrift has no partial success")
    sink.replies.append(Reply(body=b"\x0a\x08\x08\x03\x12\x04\x1b[1m"))
    async with aclosing(made(kind, sink)) as target:
        taken = await target.send(Signal.TRACES, (ONE,))
    assert (taken.rejected, taken.reason) == (3, "[1m"), "without what a terminal obeys"


async def test_a_success_with_a_body_that_nobody_can_read_is_a_success(kind: str, sink: Sink) -> None:
    sink.replies.append(Reply(body=b"\xff\xfe<html>"))
    async with aclosing(made(kind, sink)) as target:
        assert await send(target, ONE) == [0]
    assert len(sink.taken) == 1


async def test_nobody_there_is_down_and_found_again_when_it_is_back(kind: str) -> None:
    port, grpc_port = free_ports(2)
    async with running_sink(port, grpc_port) as gone:
        pass
    async with aclosing(made(kind, gone)) as target:
        with pytest.raises(BackendGoneError):
            await send(target, ONE)
        async with running_sink(port, grpc_port) as back:
            await send(target, ONE)
            assert len(back.taken) == 1


async def test_a_backend_that_does_not_answer_in_time_is_down(kind: str, sink: Sink) -> None:
    sink.gate.clear()
    for seconds in (0.2, 2.0, 20.0):  # until the request has arrived, which is up to the machine
        async with aclosing(made(kind, sink, timeout_seconds=seconds)) as target:
            with pytest.raises(BackendDownError) as raised:
                await send(target, ONE)
        if sink.seen:
            break
    sink.gate.set()
    assert not isinstance(raised.value, BackendGoneError), "slow is not gone"


async def test_headers_are_sent_and_no_error_shows_them(kind: str, sink: Sink) -> None:
    async with aclosing(made(kind, sink, headers={"X-Api-Key": "s3cret"})) as target:
        await send(target, ONE)
        sink.replies.append(Reply(401))
        with pytest.raises(BackendDownError) as raised:
            await send(target, ONE)
    assert sink.seen[0]["x-api-key"] == "s3cret"
    assert "s3cret" not in str(raised.value)
    assert "s3cret" not in repr(made(kind, sink, headers={"k": "s3cret"}))


@pytest.mark.parametrize("header", [("x-key", "s3cret\nbreak"), ("x-key", "s\u00fcss"), ("s3cret\n", "x")])
def test_a_header_that_cannot_be_sent_is_told_when_the_exporter_is_made(header: tuple[str, str]) -> None:
    with pytest.raises(ConnectionSettingError, match="headers") as raised:
        Connection(KEY, destination("http://localhost"), headers=dict([header]))
    assert "s3cret" not in str(raised.value)


def test_a_header_that_grpc_takes_for_bytes_is_told_when_the_exporter_is_made() -> None:
    with pytest.raises(ConnectionSettingError, match=r"headers\.x-key-bin"):
        Connection(KEY, destination("http://localhost", "grpc"), headers={"x-key-bin": "s3cret"})
    assert Connection(KEY, destination("http://localhost:1"), headers={"x-key-bin": "s3cret"})


async def test_bytes_that_are_no_request_do_not_stop_their_neighbours_from_being_prepared(
    kind: str, sink: Sink
) -> None:
    async with aclosing(made(kind, sink)) as target:
        prepared = target.prepare(Signal.TRACES, [ONE, b"\xff\xff\xff"])
        payloads = [payload for request in prepared for payload in request]
    assert b"\xff\xff\xff" in payloads
    assert any(spans_of(payload) for payload in payloads if payload != b"\xff\xff\xff")


async def test_tls_trusts_the_given_authority_and_nobody_else(kind: str, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    async with running_sink(tls=(certificate, key)) as sink:
        async with aclosing(made(kind, sink, tls=TlsFiles(certificate, certificate, key))) as target:
            await send(target, ONE)
        assert len(sink.taken) == 1
        async with aclosing(made(kind, sink)) as stranger:
            with pytest.raises(BackendDownError, match=rf"not trusted.*{KEY}\.tls\.ca_file"):
                await send(stranger, ONE)


async def test_tls_files_that_are_none_are_told_when_the_exporter_is_made(
    kind: str, tmp_path: Path, sink: Sink
) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    sink.url, sink.target = "https://127.0.0.1:1", "https://127.0.0.1:1"
    for files in (TlsFiles(ca=garbage), TlsFiles(ca=tmp_path / "none"), TlsFiles(certificate=garbage)):
        with pytest.raises(TlsFilesError, match="tls"):
            made(kind, sink, tls=files)


@pytest.mark.parametrize("compressed", [True, False])
async def test_bodies_are_compressed_where_the_setting_says_so(sink: Sink, compressed: bool) -> None:
    async with aclosing(made("http", sink, gzip=compressed)) as target:
        await send(target, ONE)
    assert ("content-encoding" in sink.seen[0]) is compressed
    assert sink.span_names == ["span 1"]


@pytest.mark.parametrize("kind", ["http", "grpc"])
async def test_other_signals_go_to_their_own_door(kind: str, sink: Sink) -> None:
    logs = logs_request(log_record()).SerializeToString()
    async with aclosing(made(kind, sink)) as target:
        await target.send(Signal.LOGS, (logs,))
    assert sink.taken == [(Signal.LOGS, logs)]


async def test_thrift_sends_one_request_for_each_resource(sink: Sink) -> None:
    other = trace_request(span(3))
    other.resource_spans[0].resource.attributes[0].value.string_value = "till"
    async with aclosing(made("thrift", sink)) as target:
        await send(target, ONE, other.SerializeToString(), TWO)
    assert [body.count(b"span ") for _, body in sink.taken] == [2, 1]
    assert sink.seen[0]["content-type"] == "application/x-thrift"
