"""CreateTrace's record: what is refused, and the OTLP span that the rest becomes."""

import dataclasses
import math
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from agent_tracer.server.domain.errors import InvalidFieldsError
from agent_tracer.server.domain.ids import AgentId, TraceId, otel_trace_id
from agent_tracer.server.domain.telemetry import AttributeValue, TraceStatus
from agent_tracer.server.domain.trace_records import (
    TraceRecord,
    checked,
    record_request,
    record_span_id,
    record_trace,
)
from agent_tracer.server.limits import METADATA_BYTES_MAX, METADATA_DEPTH_MAX, METADATA_KEYS_MAX
from tests.fixtures.memory_store import attributes_of

NOW = 1_790_000_000 * 10**9
HOUR = 3600 * 10**9
RECORD = TraceRecord(
    trace_id=TraceId("trace-abc123"),
    agent_id=AgentId("tdd-enforcer-001"),
    operation="test-validation",
    duration_ms=2500,
    status="success",
    metadata={"coverage": 85, "tests_run": 150},
)


def span_of(record: TraceRecord) -> Span:
    request = ExportTraceServiceRequest.FromString(record_request(checked(record, NOW)))
    (resource,) = request.resource_spans
    (scope,) = resource.scope_spans
    (span,) = scope.spans
    return span


def changed(**fields: Any) -> TraceRecord:
    return dataclasses.replace(RECORD, **fields)


def nested(depth: int) -> AttributeValue:
    value: AttributeValue = 1
    for _ in range(depth):
        value = {"k": value}
    return value


def test_a_record_becomes_one_root_span_that_ends_now() -> None:
    span = span_of(RECORD)
    assert span.trace_id == otel_trace_id(RECORD.trace_id)
    assert not span.parent_span_id
    assert span.name == "test-validation"
    assert span.end_time_unix_nano == NOW
    assert span.start_time_unix_nano == NOW - 2_500_000_000
    assert span.status.code == Status.STATUS_CODE_OK
    assert attributes_of(span.attributes) == {
        "gen_ai.agent.id": "tdd-enforcer-001",
        "agent_tracer.trace_id": "trace-abc123",
        "agent_tracer.record": True,
        "metadata.coverage": 85,
        "metadata.tests_run": 150,
    }


def test_workflow_session_and_task_travel_as_semantic_attributes() -> None:
    span = span_of(changed(workflow_id="w", session_id="s", task_type="review"))
    attributes = attributes_of(span.attributes)
    assert attributes["gen_ai.workflow.name"] == "w"
    assert attributes["gen_ai.conversation.id"] == "s"
    assert attributes["task.type"] == "review"


@pytest.mark.parametrize(
    ("status", "code", "error_type"),
    [
        ("", Status.STATUS_CODE_OK, None),
        ("success", Status.STATUS_CODE_OK, None),
        ("error", Status.STATUS_CODE_ERROR, None),
        ("timeout", Status.STATUS_CODE_ERROR, "timeout"),
    ],
)
def test_status_and_timeout_survive_as_otlp_has_them(status: str, code: int, error_type: str | None) -> None:
    span = span_of(changed(status=status))
    assert span.status.code == code
    assert attributes_of(span.attributes).get("error.type") == error_type


def test_metadata_keeps_every_type() -> None:
    metadata: dict[str, AttributeValue] = {
        "whole": 2**53,
        "part": 0.1,
        "yes": True,
        "none": None,
        "text": "tab\tand \x00 are content",
        "list": [1, "a", [None]],
        "map": {"a": {"b": [1.5]}},
        "empty": {},
    }
    attributes = attributes_of(span_of(changed(metadata=metadata)).attributes)
    assert {key: attributes[f"metadata.{key}"] for key in metadata} == metadata
    assert isinstance(attributes["metadata.whole"], int)
    assert attributes["metadata.yes"] is True


def test_the_same_record_is_the_same_span_whatever_the_clock_says() -> None:
    later = ExportTraceServiceRequest.FromString(record_request(checked(RECORD, NOW + HOUR)))
    assert later.resource_spans[0].scope_spans[0].spans[0].span_id == span_of(RECORD).span_id


def test_key_order_and_a_spelled_out_default_make_no_new_record() -> None:
    turned = changed(metadata={"tests_run": 150, "coverage": 85}, status="")
    assert record_span_id(turned) == record_span_id(RECORD)


@pytest.mark.parametrize(
    "fields",
    [
        {"trace_id": "other"},
        {"agent_id": "other"},
        {"operation": "other"},
        {"duration_ms": 2500.5},
        {"status": "error"},
        {"metadata": {"coverage": 86, "tests_run": 150}},
        {"metadata": {"coverage": "85", "tests_run": 150}},
        {"start_ns": NOW - 10**9},
        {"workflow_id": "w"},
        {"session_id": "w"},
        {"task_type": "w"},
    ],
)
def test_any_other_field_makes_another_span(fields: dict[str, Any]) -> None:
    assert record_span_id(changed(**fields)) != record_span_id(RECORD)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"trace_id": ""}, "trace_id"),
        ({"trace_id": "x" * 257}, "trace_id"),
        ({"agent_id": ""}, "agent_id"),
        ({"agent_id": "a\tb"}, "agent_id"),
        ({"agent_id": "a\nb"}, "agent_id"),
        ({"agent_id": "a\x7fb"}, "agent_id"),
        ({"agent_id": "a\x85b"}, "agent_id"),
        ({"operation": ""}, "operation"),
        ({"operation": "\x00"}, "operation"),
        ({"workflow_id": "a\rb"}, "workflow_id"),
        ({"session_id": "s" * 257}, "session_id"),
        ({"task_type": "\x1b[31m"}, "task_type"),
        ({"duration_ms": -1.0}, "duration"),
        ({"duration_ms": math.nan}, "duration"),
        ({"duration_ms": math.inf}, "duration"),
        ({"duration_ms": 1e300}, "duration"),
        ({"duration_ms": 100 * 366 * 86_400_000.0}, "duration"),
        ({"status": "running"}, "status"),
        ({"status": "SUCCESS"}, "status"),
        ({"start_ns": 0}, "start_time"),
        ({"start_ns": NOW + HOUR + 1}, "start_time"),
        ({"start_ns": -1}, "start_time"),
        ({"start_ns": 2**63}, "start_time"),
        ({"start_ns": NOW, "duration_ms": 2 * HOUR / 1e6}, "duration"),
        ({"metadata": {str(i): 1 for i in range(METADATA_KEYS_MAX + 1)}}, "metadata"),
        ({"metadata": {"": 1}}, "metadata"),
        ({"metadata": {"big": "x" * METADATA_BYTES_MAX}}, "metadata"),
        ({"metadata": {"deep": nested(METADATA_DEPTH_MAX)}}, "metadata"),
        ({"metadata": {"list": [{"nan": math.nan}]}}, "metadata"),
    ],
    ids=repr,
)
def test_what_is_out_of_bounds_is_refused_by_its_name(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidFieldsError) as refusal:
        checked(changed(**fields), NOW)
    assert [violation.field for violation in refusal.value.violations] == [named]


@pytest.mark.parametrize(
    "fields",
    [
        {"trace_id": "x" * 256},
        {"agent_id": "agént/ü 1"},
        {"duration_ms": 0.0},
        {"start_ns": NOW + HOUR, "duration_ms": 0.0},
        {"metadata": {"deep": nested(METADATA_DEPTH_MAX - 2)}},
        {"metadata": {}},
    ],
    ids=repr,
)
def test_what_is_just_within_bounds_is_taken(fields: dict[str, Any]) -> None:
    assert record_request(checked(changed(**fields), NOW))


def test_all_wrong_fields_are_told_at_once() -> None:
    with pytest.raises(InvalidFieldsError) as refusal:
        checked(TraceRecord(TraceId(""), AgentId(""), "", duration_ms=-1, status="odd"), NOW)
    named = [violation.field for violation in refusal.value.violations]
    assert named == ["trace_id", "agent_id", "operation", "status", "duration"]


def test_the_answer_is_what_the_caller_gave() -> None:
    trace = record_trace(checked(changed(status="timeout", start_ns=NOW - HOUR), NOW))
    assert (trace.trace_id, trace.agent_id, trace.operation) == (
        "trace-abc123",
        "tdd-enforcer-001",
        "test-validation",
    )
    assert trace.status is TraceStatus.TIMEOUT
    assert (trace.start_ns, trace.end_ns) == (NOW - HOUR, NOW - HOUR + 2_500_000_000)
    assert trace.metadata == {"coverage": 85, "tests_run": 150}
    assert (trace.span_count, trace.error_count) == (1, 1)
