"""Spans to measure with: seeded traces of LLM agents, of plain services, and one huge trace."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

STAMP: Final = "~~~~~~"
"""Six characters in texts that a sender replaces, so that sessions and rare words do not repeat with the pool."""

_VOCABULARY: Final = (
    "account agreed agent amount answer apply approve archive asked basis billing branch budget carrier case "
    "change charge check claim close contract courier credit customer date deadline deliver deny deposit detail "
    "discount dispute draft due email entry escalate estimate evidence expire explain failed filter finance "
    "follow forecast goods handle history holiday hotel invoice issue item journey label late ledger limit line "
    "manager market match meeting merchant method missing month network note notice number offer open order owner "
    "parcel partner pay period person plan policy price product profile promise proof purchase quality query "
    "question quote rate reason receipt record refund region reject reminder repair reply report request reserve "
    "result return review risk route sale schedule score search seller send service ship signed stock store "
    "supply support system target tax team ticket total transfer travel update urgent user value vendor visit "
    "wait warranty week weight work year zone"
)
_WORDS: Final[Sequence[str]] = _VOCABULARY.split()
_MODELS: Final = (
    ("openai", "gpt-4o"),
    ("openai", "gpt-4o-mini"),
    ("anthropic", "claude-sonnet-4-5"),
    ("anthropic", "claude-haiku-4-5"),
    ("gcp.gemini", "gemini-2.5-flash"),
)
_AGENTS: Final = tuple(f"agent-{n:02d}" for n in range(20))
_TEXT_BYTES: Final = 300
# Name, OpenInference kind, parent (an earlier line; -1: none), start and end as parts of the trace.
_STEPS: Final = (
    ("invoke_agent", "AGENT", -1, 0.00, 1.00),
    ("plan", "CHAIN", 0, 0.01, 0.22),
    ("chat plan", "LLM", 1, 0.02, 0.21),
    ("retrieval", "RETRIEVER", 0, 0.23, 0.36),
    ("embeddings", "EMBEDDING", 3, 0.23, 0.27),
    ("rerank", "RERANKER", 3, 0.28, 0.35),
    ("execute_tool search", "TOOL", 0, 0.37, 0.49),
    ("chat reason", "LLM", 0, 0.50, 0.70),
    ("execute_tool refund", "TOOL", 0, 0.71, 0.79),
    ("guardrail", "GUARDRAIL", 0, 0.80, 0.82),
    ("chat answer", "LLM", 0, 0.83, 0.97),
    ("evaluate", "EVALUATOR", 0, 0.97, 0.99),
)
_CLIENT_KINDS: Final = frozenset({"LLM", "EMBEDDING", "TOOL"})
_FAILING_STEP: Final = 8
AGENT_SPANS: Final = len(_STEPS)
PLAIN_SPANS: Final = 6

Value = str | int | float | Sequence[str]


def put(span: Span, attributes: dict[str, Value]) -> None:
    """Set attributes by the Python type of their values."""
    for key, value in attributes.items():
        target = span.attributes.add(key=key).value
        match value:
            case str():
                target.string_value = value
            case int():
                target.int_value = value
            case float():
                target.double_value = value
            case _:
                for text in value:
                    target.array_value.values.add(string_value=text)


def text(random_: random.Random, length: int) -> str:
    """Words, `length` characters of them."""
    return " ".join(random_.choices(_WORDS, k=length // 5))[:length]


class _Story:
    """What the spans of one agent's trace have in common."""

    def __init__(self, random_: random.Random, index: int) -> None:
        self.random = random_
        self.session = f"session-{index // 4:06d}-{STAMP}"
        self.user = f"user-{random_.randrange(500):04d}"
        self.agent = random_.choice(_AGENTS)
        self.provider, self.model = random_.choice(_MODELS)
        # A word that no other trace has, for searches.
        self.question = f"case{index:06d}{STAMP} {text(random_, _TEXT_BYTES - 17)}"
        self.failed = random_.random() < 0.05

    def answer(self, length: int = _TEXT_BYTES) -> str:
        return text(self.random, length)


def _agent(story: _Story) -> dict[str, Value]:
    return {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.id": story.agent,
        "gen_ai.agent.name": story.agent,
        "input.value": story.question,
        "output.value": story.answer(),
        "metadata": json.dumps({"tenant": f"t{story.random.randrange(20)}", "release": "1.4.2"}),
    }


def _chain(story: _Story) -> dict[str, Value]:
    return {"input.value": story.question, "output.value": story.answer(), "tag.tags": ["prod", "refunds"]}


def _llm(story: _Story) -> dict[str, Value]:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": story.provider,
        "gen_ai.request.model": story.model,
        "gen_ai.response.model": story.model,
        "gen_ai.usage.input_tokens": story.random.randrange(200, 4000),
        "gen_ai.usage.output_tokens": story.random.randrange(20, 900),
        "gen_ai.response.finish_reasons": ["stop"],
        "input.value": story.question,
        "input.mime_type": "text/plain",
        "output.value": story.answer(),
        "output.mime_type": "text/plain",
    }


def _retriever(story: _Story) -> dict[str, Value]:
    found: dict[str, Value] = {"input.value": story.question}
    for n in range(3):
        document = f"retrieval.documents.{n}.document"
        found[f"{document}.id"] = f"doc-{story.random.randrange(10_000):04d}"
        found[f"{document}.score"] = round(story.random.random(), 4)
        found[f"{document}.content"] = story.answer(180)
    return found


def _embedding(story: _Story) -> dict[str, Value]:
    return {
        "gen_ai.operation.name": "embeddings",
        "embedding.model_name": "text-embedding-3-small",
        "input.value": story.question[:120],
        "gen_ai.usage.input_tokens": story.random.randrange(8, 64),
    }


def _reranker(story: _Story) -> dict[str, Value]:
    return {
        "reranker.query": story.question[:120],
        "reranker.model_name": "bge-reranker-base",
        "reranker.top_k": 3,
    }


def _tool(story: _Story) -> dict[str, Value]:
    return {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": story.random.choice(("search", "refund", "lookup")),
        "gen_ai.tool.call.id": f"call_{story.random.getrandbits(64):016x}",
        "tool.parameters": json.dumps({"order_id": story.random.randrange(10**6), "limit": 10}),
        "input.value": json.dumps({"q": story.question[:80]}),
        "input.mime_type": "application/json",
        "output.value": json.dumps({"rows": story.random.randrange(10), "note": story.answer(120)}),
        "output.mime_type": "application/json",
    }


def _check(story: _Story) -> dict[str, Value]:
    return {
        "output.value": story.random.choice(("pass", "pass", "pass", "fail")),
        "metadata": json.dumps({"score": round(story.random.random(), 3)}),
    }


_CONTENT: Final[dict[str, Callable[[_Story], dict[str, Value]]]] = {
    "AGENT": _agent,
    "CHAIN": _chain,
    "LLM": _llm,
    "RETRIEVER": _retriever,
    "EMBEDDING": _embedding,
    "RERANKER": _reranker,
    "TOOL": _tool,
    "GUARDRAIL": _check,
    "EVALUATOR": _check,
}


def agent_trace(random_: random.Random, index: int, start_ns: int) -> list[Span]:
    """One run of an agent, AGENT_SPANS spans of 770 bytes on average, in the order in which they end."""
    story = _Story(random_, index)
    trace_id, ids = random_.randbytes(16), [random_.randbytes(8) for _ in _STEPS]
    lasts = random_.uniform(0.8e9, 9e9)
    spans = []
    for n, (name, kind, parent, begin, end) in enumerate(_STEPS):
        span = Span(
            trace_id=trace_id,
            span_id=ids[n],
            parent_span_id=ids[parent] if parent >= 0 else b"",
            name=name,
            kind=Span.SPAN_KIND_CLIENT if kind in _CLIENT_KINDS else Span.SPAN_KIND_INTERNAL,
            start_time_unix_nano=start_ns + int(begin * lasts),
            end_time_unix_nano=start_ns + int(end * lasts),
        )
        common: dict[str, Value] = {
            "openinference.span.kind": kind,
            "session.id": story.session,
            "user.id": story.user,
        }
        put(span, common | _CONTENT[kind](story))
        _end(span, failed=story.failed and n in {0, _FAILING_STEP})
        spans.append(span)
    return sorted(spans, key=lambda span: span.end_time_unix_nano)


def _end(span: Span, *, failed: bool) -> None:
    if not failed:
        span.status.code = Status.STATUS_CODE_OK
        return
    span.status.code = Status.STATUS_CODE_ERROR
    span.status.message = "the tool did not answer"
    event = span.events.add(name="exception", time_unix_nano=span.end_time_unix_nano)
    event.attributes.add(key="exception.type").value.string_value = "TimeoutError"
    event.attributes.add(key="exception.message").value.string_value = "no answer after 30 s"


def plain_trace(random_: random.Random, index: int, start_ns: int) -> list[Span]:
    """A request through services: PLAIN_SPANS spans with ten attributes and no long text."""
    trace_id, parent = random_.randbytes(16), b""
    spans = []
    for depth in range(PLAIN_SPANS):
        route = f"/api/v1/{_WORDS[(index + depth) % 40]}"
        span = Span(
            trace_id=trace_id,
            span_id=random_.randbytes(8),
            parent_span_id=parent,
            name=f"GET {route}",
            kind=Span.SPAN_KIND_CLIENT if depth % 2 else Span.SPAN_KIND_SERVER,
            start_time_unix_nano=start_ns + depth * 1_000_000 + random_.randrange(1_000_000),
            end_time_unix_nano=start_ns + 50_000_000 - depth * 1_000_000 + random_.randrange(1_000_000),
        )
        parent = span.span_id
        put(
            span,
            {
                "http.request.method": "GET",
                "http.route": route,
                "http.response.status_code": random_.choice((200, 200, 200, 204, 404, 500)),
                "url.scheme": "https",
                "url.path": f"{route}/{random_.randrange(100_000)}",
                "server.address": f"shop-{depth}.internal",
                "server.port": 8443,
                "network.protocol.version": "2",
                "user_agent.original": "shop-client/3.1",
                "client.address": f"10.0.{random_.randrange(256)}.{random_.randrange(256)}",
            },
        )
        spans.append(span)
    return spans[::-1]


def huge_trace(random_: random.Random, count: int, start_ns: int) -> Iterator[Span]:
    """One trace of `count` spans: a root, a step for every hundred, tool calls under the steps."""
    trace_id, root = random_.randbytes(16), random_.randbytes(8)
    step = root
    for n in range(count):
        span_id = root if n == 0 else random_.randbytes(8)
        is_step = n % 100 == 1
        parent = b"" if n == 0 else root if is_step else step
        step = span_id if is_step else step
        span = Span(trace_id=trace_id, span_id=span_id, parent_span_id=parent, name=f"step {n}")
        span.start_time_unix_nano = start_ns + n * 1_000_000
        span.end_time_unix_nano = start_ns + (count if n == 0 else n + 1) * 1_000_000
        put(span, _tool(_Story(random_, n)))
        yield span
