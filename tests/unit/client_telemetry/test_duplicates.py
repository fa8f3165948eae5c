"""One model call told by two instrumentations is one span; a call told once is never lost."""

from typing import Any

from opentelemetry.sdk.trace import Tracer

from agent_tracer.client.telemetry.duplicates import framework_call_begins
from tests.unit.client_telemetry.conftest import Seen

LLM = {"openinference.span.kind": "LLM"}
CHAT = {"gen_ai.operation.name": "chat"}


def tokens(prompt: int, completion: int) -> dict[str, int]:
    return {"llm.token_count.prompt": prompt, "llm.token_count.completion": completion}


def tracers(seen: Seen) -> tuple[Any, Any, Any]:
    made = [seen.provider.get_tracer(name) for name in ("framework", "sdk", "http")]
    assert all(isinstance(one, Tracer) for one in made)
    return made[0], made[1], made[2]


def test_the_inner_of_two_is_dropped_and_what_is_under_it_moves_up(seen: Seen) -> None:
    framework, sdk, http = tracers(seen)
    with framework.start_as_current_span("outer", attributes=LLM) as outer:
        with sdk.start_as_current_span("inner", attributes=CHAT) as inner:
            with http.start_as_current_span("POST"):
                pass
            inner.set_attributes(tokens(10, 5))
        outer.set_attributes(tokens(10, 5))
    assert {s.name for s in seen.spans} == {"outer", "POST"}
    assert seen.named("POST").parent == seen.named("outer").get_span_context()
    assert seen.processor.dropped_duplicates == 1


def test_the_inner_stays_where_the_outer_tells_no_tokens(seen: Seen) -> None:
    framework, sdk, http = tracers(seen)
    with framework.start_as_current_span("mine", attributes=CHAT):
        with sdk.start_as_current_span("inner", attributes=LLM | tokens(10, 5)):
            with http.start_as_current_span("POST"):
                pass
        assert seen.spans == [], "until the outer ends, nobody knows"
    assert {s.name for s in seen.spans} == {"mine", "inner", "POST"}
    assert seen.named("POST").parent == seen.named("inner").get_span_context()


def test_calls_beside_each_other_and_of_the_same_instrumentation_stay(seen: Seen) -> None:
    framework, sdk, _ = tracers(seen)
    with framework.start_as_current_span("chain", attributes={"openinference.span.kind": "CHAIN"}):
        for name in ("one", "two"):
            with sdk.start_as_current_span(name, attributes=LLM | tokens(1, 1)):
                pass
        with sdk.start_as_current_span("outer", attributes=LLM | tokens(1, 1)):
            with sdk.start_as_current_span("nested", attributes=LLM | tokens(1, 1)):
                pass
    assert {s.name for s in seen.spans} == {"chain", "one", "two", "outer", "nested"}


def test_retries_under_one_call_are_all_dropped(seen: Seen) -> None:
    framework, sdk, _ = tracers(seen)
    with framework.start_as_current_span("outer", attributes=LLM) as outer:
        for name in ("first", "second"):
            with sdk.start_as_current_span(name, attributes=LLM):
                pass
        outer.set_attributes(tokens(3, 2))
    assert [s.name for s in seen.spans] == ["outer"]


def test_three_instrumentations_of_one_call(seen: Seen) -> None:
    framework, sdk, native = tracers(seen)
    with framework.start_as_current_span("outer", attributes=LLM | tokens(3, 2)):
        with sdk.start_as_current_span("middle", attributes=LLM | tokens(3, 2)):
            with native.start_as_current_span("inner", attributes=CHAT | tokens(3, 2)):
                pass
    assert [s.name for s in seen.spans] == ["outer"]


def test_a_framework_whose_span_is_not_current(seen: Seen) -> None:
    framework, sdk, _ = tracers(seen)
    with framework_call_begins():
        outer = framework.start_span("ChatOpenAI")
    with sdk.start_as_current_span("the same call", attributes=LLM | tokens(3, 2)):
        pass
    with sdk.start_as_current_span("another call meanwhile", attributes=LLM | tokens(30, 20)):
        pass
    outer.set_attributes(LLM | tokens(3, 2))
    outer.end()
    with sdk.start_as_current_span("a call afterwards", attributes=LLM | tokens(3, 2)):
        pass
    assert [s.name for s in seen.spans] == ["ChatOpenAI", "another call meanwhile", "a call afterwards"]


def test_a_refused_call_is_told_once(seen: Seen) -> None:
    framework, sdk, _ = tracers(seen)
    try:
        with framework.start_as_current_span("outer", attributes=LLM):
            with sdk.start_as_current_span("inner", attributes=LLM):
                raise RuntimeError  # noqa: TRY301 - what a refused call does
    except RuntimeError:
        pass
    assert [s.name for s in seen.spans] == ["outer"]


def test_what_waits_is_sent_at_the_end(seen: Seen) -> None:
    framework, sdk, _ = tracers(seen)
    with framework.start_as_current_span("outer", attributes=LLM):
        with sdk.start_as_current_span("inner", attributes=LLM | tokens(1, 1)):
            pass
        seen.processor._calls.release()
        assert [s.name for s in seen.spans] == ["inner"]


def test_an_inner_call_that_ends_after_the_outer_is_sent(seen: Seen) -> None:
    framework, sdk, _ = tracers(seen)
    with framework.start_as_current_span("outer", attributes=LLM | tokens(1, 1)):
        inner = sdk.start_span("inner", attributes=LLM | tokens(1, 1))
    inner.end()
    assert [s.name for s in seen.spans] == ["outer", "inner"]
    assert seen.processor._calls._calls == {}
