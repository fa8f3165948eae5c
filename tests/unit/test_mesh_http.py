"""The HTTP envelope, its sender and receivers, and CloudEvents."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from agent_tracer.client import mesh
from tests.fixtures.mesh import SECRET, Caught
from tests.fixtures.raw_http import BROKEN, raw_http, redirect

PLAIN: Any = {"from": "agent://shop/planner", "to": "agent://shop/writer", "type": "task", "payload": {"text": SECRET}}


class Receiver:
    """An HTTP server that keeps what it is sent."""

    def __init__(self, status: int = 200) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.arrived = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((self.path, {key.lower(): value for key, value in self.headers.items()}, body))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(b'{"ok": true}')
                outer.arrived.set()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def caught() -> Caught:
    return Caught()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as started:
        yield started


async def test_a_message_is_sent_as_the_mesh_writes_it(receiver: Receiver, caught: Caught) -> None:
    client = mesh.MeshClient(receiver.url, "agent://shop/planner", tracer_provider=caught.provider)
    reply = await client.send("writer", "task", {"text": SECRET}, correlation_id="c-1")
    assert (reply.status, reply.json()) == (200, {"ok": True})
    ((path, headers, body),) = receiver.got
    sent = json.loads(body)
    (span,) = caught.spans
    traceparent = f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-{span.context.trace_flags:02x}"
    assert (path, headers["traceparent"]) == ("/messages", traceparent)
    assert sent.pop("timestamp").endswith("Z")
    assert sent.pop("id") == reply.message_id
    assert sent == {
        "version": "1.0",
        "from": "agent://shop/planner",
        "to": "agent://default/writer",
        "type": "task",
        "payload": {"text": SECRET},
        "correlationId": "c-1",
        "traceContext": {"traceparent": traceparent, "tracestate": ""},
    }
    assert dict(span.attributes or {})["gen_ai.agent.id"] == "planner"
    assert SECRET not in caught.text()


async def test_a_message_that_is_not_accepted_says_so_and_is_an_error(caught: Caught) -> None:
    with Receiver(503) as refusing:
        client = mesh.MeshClient(refusing.url, "planner", tracer_provider=caught.provider)
        with pytest.raises(mesh.MeshError, match="answered 503") as refused:
            await client.send("writer", "task")
    with pytest.raises(mesh.MeshError, match="not reached"):
        await client.send("writer", "task")
    assert refused.value.status == 503
    assert [dict(span.attributes or {})["error.type"] for span in caught.spans] == ["503", "MeshError"]


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_broken_answer_is_no_reply(broken: bytes, caught: Caught) -> None:
    with raw_http(broken) as server:
        client = mesh.MeshClient(server.url, "planner", tracer_provider=caught.provider)
        with pytest.raises(mesh.MeshError, match="no whole answer") as refused:
            await client.send("writer", "task")
    assert refused.value.status == 0
    assert dict(caught.spans[0].attributes or {})["error.type"] == "MeshError"


async def test_a_redirect_is_an_error_that_says_where_to_and_hands_nothing_on(caught: Caught) -> None:
    with raw_http() as elsewhere, raw_http(redirect(f"{elsewhere.url}/login?key={SECRET}")) as server:
        client = mesh.MeshClient(
            server.url, "planner", headers={"Authorization": f"Bearer {SECRET}"}, tracer_provider=caught.provider
        )
        with pytest.raises(mesh.MeshError, match=rf"redirect to {elsewhere.url}/login\?\*\*\*,") as refused:
            await client.send("writer", "task")
    assert (refused.value.status, elsewhere.heads) == (301, [])
    assert dict(caught.spans[0].attributes or {})["error.type"] == "301"


@pytest.mark.parametrize(
    ("to", "payload"), [("a b", 1), ("", 1), ("http://x", 1), ("writer", {1, 2}), ("writer", float("nan"))]
)
async def test_what_cannot_be_sent_is_told_before_it_is_tried(to: str, payload: Any, caught: Caught) -> None:
    with pytest.raises(mesh.EnvelopeError):
        await mesh.MeshClient("http://127.0.0.1:1", "planner", tracer_provider=caught.provider).send(
            to, "task", payload
        )
    assert caught.spans == []


async def test_a_password_in_an_endpoint_is_not_told(caught: Caught) -> None:
    client = mesh.MeshClient("http://me:hush@127.0.0.1:1/x", "planner", tracer_provider=caught.provider)
    with pytest.raises(mesh.MeshError) as refused:
        await client.send("writer", "task")
    assert dict(caught.spans[0].attributes or {})["url.full"] == "http://127.0.0.1:1/x/messages"
    assert "hush" not in f"{refused.value} {caught.text()}"


def test_an_endpoint_that_is_none_is_told() -> None:
    with pytest.raises(ValueError, match="no http or https"):
        mesh.MeshClient("file:///etc/passwd", "planner")


async def receive(app: Any, body: bytes, headers: dict[str, str], pieces: int = 1) -> list[Any]:
    """Post to an ASGI application; what it sent."""
    size = max(1, -(-len(body) // pieces))
    parts = [body[start : start + size] for start in range(0, len(body), size)] or [b""]
    waiting = [{"type": "http.request", "body": part, "more_body": True} for part in parts[:-1]]
    waiting.append({"type": "http.request", "body": parts[-1], "more_body": False})
    sent: list[Any] = []

    async def take() -> Any:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    raw = [(key.encode(), value.encode()) for key, value in headers.items()]
    await app({"type": "http", "method": "POST", "path": "/mesh/messages", "headers": raw}, take, send)
    return sent


def application(seen: list[bytes], status: int = 200, error: BaseException | None = None) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        seen.append(body)
        if error is not None:
            raise error
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return app


TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


@pytest.mark.parametrize("where", ["headers", "envelope"])
@pytest.mark.parametrize("pieces", [1, 7])
async def test_a_receivers_span_continues_and_links_the_senders(where: str, pieces: int, caught: Caught) -> None:
    carried = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
    body = json.dumps(
        {**PLAIN, "traceContext": carried if where == "envelope" else {"traceparent": "", "tracestate": ""}}
    )
    seen: list[bytes] = []
    app = mesh.MessageMiddleware(application(seen), "writer", tracer_provider=caught.provider)
    await receive(app, body.encode(), carried if where == "headers" else {}, pieces)
    (span,) = caught.spans
    assert seen == [body.encode()]
    assert span.parent is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, SPAN)
    assert [f"{link.context.span_id:016x}" for link in span.links] == [SPAN]
    told = dict(span.attributes or {})
    assert (told["gen_ai.agent.id"], told["ossa.parent.agent.id"]) == ("writer", "planner")
    assert SECRET not in caught.text()


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"[]", b'{"a":', b"x" * (3 << 20), b"[" * 100_000, b'{"type": 5}'])
async def test_what_is_no_envelope_is_served_as_it_is(body: bytes, caught: Caught) -> None:
    seen: list[bytes] = []
    app = mesh.MessageMiddleware(application(seen), "writer", tracer_provider=caught.provider)
    sent = await receive(app, body, {"traceparent": "junk", "baggage": "=;=,"}, pieces=40)
    assert (seen, sent[0]["status"], len(caught.spans)) == ([body], 200, 1)


@pytest.mark.parametrize(
    ("status", "error", "told"),
    [
        (404, None, ("UNSET", None)),
        (500, None, ("ERROR", "500")),
        (200, ValueError(SECRET), ("ERROR", "ValueError")),
        (200, asyncio.CancelledError(), ("UNSET", None)),
    ],
)
async def test_how_a_request_ended_is_on_its_span(status: int, error: Any, told: Any, caught: Caught) -> None:
    app = mesh.MessageMiddleware(application([], status, error), "writer", tracer_provider=caught.provider)
    if error is None:
        await receive(app, json.dumps(PLAIN).encode(), {})
    else:
        with pytest.raises(type(error)):
            await receive(app, json.dumps(PLAIN).encode(), {})
    (span,) = caught.spans
    assert (span.status.status_code.name, dict(span.attributes or {}).get("error.type")) == told
    assert SECRET not in caught.text()


@pytest.mark.parametrize("middleware", [mesh.A2AMiddleware, mesh.MessageMiddleware])
@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (ValueError(SECRET), "ERROR", {"error.type": "ValueError"}),
        (asyncio.CancelledError(), "UNSET", {"agent_tracer.cancelled": True}),
    ],
)
async def test_what_ends_a_response_half_way_is_told_whatever_its_status_said(
    middleware: Any, error: BaseException, status: str, told: dict[str, Any], caught: Caught
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        raise error

    with pytest.raises(type(error)):
        await receive(middleware(app, "writer", tracer_provider=caught.provider), b"{}", {})
    (span,) = caught.spans
    ends = ("error.type", "agent_tracer.cancelled")
    attributes = dict(span.attributes or {})
    assert (span.status.status_code.name, {k: attributes[k] for k in ends if k in attributes}) == (status, told)
    assert attributes["http.response.status_code"] == 200
    assert SECRET not in caught.text()


async def test_a_client_that_goes_away_gives_the_request_up(caught: Caught) -> None:
    async def gone(message: Any) -> None:
        raise BrokenPipeError

    async def take() -> Any:
        return {"type": "http.request", "body": b"{}"}

    app = mesh.A2AMiddleware(application([]), "writer", tracer_provider=caught.provider)
    with pytest.raises(BrokenPipeError):
        await app({"type": "http", "method": "POST", "path": "/", "headers": []}, take, gone)
    (span,) = caught.spans
    assert (span.status.status_code.name, dict(span.attributes or {})["agent_tracer.cancelled"]) == ("UNSET", True)


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text())))
def test_an_envelope_is_read_or_refused_whatever_it_holds(held: Any) -> None:
    read = mesh.Envelope.parse(json.dumps({**held, "type": "task"}))
    assert read.type == "task"


def test_an_envelope_reads_back_as_it_was_written() -> None:
    made = mesh.Envelope("planner", "agent://shop/writer", "task", [1, "ä"], "id-1", "2026-01-01T00:00:00Z", "c-1")
    read = mesh.Envelope.parse(made.to_json())
    assert (read.sender, read.to, read.payload) == ("agent://default/planner", "agent://shop/writer", [1, "ä"])
    assert mesh.Envelope.parse(
        {"type": "t", "correlation_id": "c", "trace_context": {"traceparent": "x"}}
    ).headers() == {"traceparent": "x"}


@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_an_event_reads_back_in_both_modes(mode: str, caught: Caught) -> None:
    with caught.provider.get_tracer("t").start_as_current_span("work"):
        made = mesh.CloudEvent.now("dev.ossa.tool.called", agent_id="plänner", subject="50% off", data={"n": 1})
    headers, body = getattr(made, mode)()
    (span,) = caught.spans
    assert (made.trace_id, made.span_id) == (f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}")
    assert mesh.CloudEvent.parse(body, headers) == made
    if mode == "structured":
        whole = json.loads(body)
        assert (whole["specversion"], whole["ossaagentid"], whole["ossaspanid"]) == ("1.0", "plänner", made.span_id)
    else:
        assert all(value.isascii() for value in headers.values())


@pytest.mark.parametrize(
    "body", [b"", b"no", b"[]", b"{}", b'{"type":"a","id":"b"}', b'{"type":1,"source":"b","id":"c"}']
)
def test_what_is_no_event_is_told(body: bytes) -> None:
    with pytest.raises(mesh.EventError):
        mesh.CloudEvent.parse(body)


@pytest.mark.parametrize("binary", [False, True])
def test_an_emitter_posts_the_agents_events(binary: bool, receiver: Receiver) -> None:
    emitter = mesh.EventEmitter(receiver.url, "planner", binary=binary)
    emitter.started()
    emitter.tool_called("search", {"q": 1})
    emitter.completed()
    emitter.failed()
    emitter.close()
    events = [mesh.CloudEvent.parse(body, headers) for _, headers, body in receiver.got]
    assert [event.type.removeprefix("dev.ossa.") for event in events] == [
        "agent.started",
        "tool.called",
        "agent.completed",
        "agent.failed",
    ]
    assert {event.agent_id for event in events} == {"planner"}


def test_an_emitter_that_reaches_nobody_raises_nothing() -> None:
    def refuse(_: object) -> None:
        raise OSError("nobody there")

    before = mesh.faults()
    mesh.EventEmitter(refuse, "planner").started()
    gone = mesh.EventEmitter("http://127.0.0.1:1/", "planner")
    gone.started({"never": {1, 2}})
    gone.started()
    gone.close()
    assert mesh.faults() - before == 3


def test_an_emitter_counts_an_event_that_is_sent_elsewhere_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    before = mesh.faults()
    with raw_http() as elsewhere, raw_http(redirect(f"{elsewhere.url}/login", 308)) as server:
        emitter = mesh.EventEmitter(server.url, "planner")
        emitter.started()
        emitter.completed()
        emitter.close()
    assert (mesh.faults() - before, elsewhere.heads) == (2, [])
    assert caplog.text.count(f"a redirect to {elsewhere.url}/login") == 1


def test_a_received_event_is_a_log_of_the_span_that_it_names() -> None:
    kept = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(kept))
    for trace_id in (TRACE, "trace-abc123"):
        event = mesh.CloudEvent(
            "dev.ossa.agent.failed",
            "ossa/a",
            "e-1",
            "2026-01-01T00:00:00Z",
            data={"text": SECRET},
            agent_id="a",
            trace_id=trace_id,
            span_id=SPAN,
        )
        mesh.record(event, logger_provider=provider)
    named, foreign = [held.log_record for held in kept.get_finished_logs()]
    assert (f"{named.trace_id:032x}", f"{named.span_id:016x}") == (TRACE, SPAN)
    assert (named.event_name, named.severity_text) == ("dev.ossa.agent.failed", "ERROR")
    assert dict(foreign.attributes or {})["ossa.trace.id"] == "trace-abc123"
    assert SECRET not in str(named.body)
