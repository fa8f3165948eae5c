"""What a caller is told, and what not."""

import asyncio
from typing import TypeVar

import pytest
from google.protobuf.message import Message
from google.rpc import code_pb2, status_pb2
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from structlog.testing import capture_logs

from agent_tracer.server.api.errors import ERROR_DOMAIN, status_of
from agent_tracer.server.domain.errors import (
    FieldViolation,
    InvalidFieldsError,
    OverloadedError,
    SpanNotFoundError,
    StoppingError,
    TooLargeError,
    TraceNotFoundError,
    invalid,
)
from agent_tracer.server.ports.journal import JournalClosedError, JournalFullError
from agent_tracer.server.ports.store import QueryTimeoutError, StoreBusyError, StoreDownError

Detail = TypeVar("Detail", bound=Message)
SECRET = "password=hunter2 at /var/lib/store.py"  # noqa: S105


def detail(status: status_pb2.Status, kind: type[Detail]) -> Detail | None:
    found = kind()
    return found if any(packed.Unpack(found) for packed in status.details) else None


@pytest.mark.parametrize(
    ("error", "code", "reason", "retry"),
    [
        (invalid("page_size", "must be more"), code_pb2.INVALID_ARGUMENT, "INVALID_FIELD", None),
        (TraceNotFoundError("t"), code_pb2.NOT_FOUND, "TRACE_NOT_FOUND", None),
        (SpanNotFoundError("s"), code_pb2.NOT_FOUND, "SPAN_NOT_FOUND", None),
        (OverloadedError("later", 2.5), code_pb2.RESOURCE_EXHAUSTED, "OVERLOADED", 2.5),
        (TooLargeError("16 MiB"), code_pb2.RESOURCE_EXHAUSTED, "TOO_LARGE", None),
        (StoppingError(), code_pb2.UNAVAILABLE, "BACKEND_DOWN", 1),
        (JournalFullError(SECRET, 7), code_pb2.RESOURCE_EXHAUSTED, "OVERLOADED", 7),
        (JournalClosedError(SECRET), code_pb2.UNAVAILABLE, "BACKEND_DOWN", 1),
        (StoreDownError(SECRET), code_pb2.UNAVAILABLE, "BACKEND_DOWN", 1),
        (StoreBusyError(SECRET), code_pb2.RESOURCE_EXHAUSTED, "OVERLOADED", 1),
        (QueryTimeoutError(SECRET), code_pb2.DEADLINE_EXCEEDED, "DEADLINE_PASSED", None),
        (TimeoutError(SECRET), code_pb2.DEADLINE_EXCEEDED, "DEADLINE_PASSED", None),
        (asyncio.CancelledError(SECRET), code_pb2.CANCELLED, "CALL_CANCELLED", None),
        (RuntimeError(SECRET), code_pb2.INTERNAL, "INTERNAL", None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_every_kind_has_its_code_reason_and_retry_and_leaks_nothing(
    error: BaseException, code: code_pb2.Code, reason: str, retry: float | None
) -> None:
    status = status_of(error)
    info, again = detail(status, ErrorInfo), detail(status, RetryInfo)
    assert status.code == code
    assert info is not None
    assert (info.domain, info.reason) == (ERROR_DOMAIN, reason)
    assert (again and again.retry_delay.ToTimedelta().total_seconds()) == retry
    assert status.message
    assert b"hunter2" not in status.SerializeToString()


def test_a_subclass_is_told_as_its_nearest_known_parent() -> None:
    class DiskError(StoreDownError):
        pass

    assert status_of(DiskError()).code == code_pb2.UNAVAILABLE


def test_wrong_fields_are_all_named_as_the_proto_names_them() -> None:
    error = InvalidFieldsError(
        [FieldViolation("duration", "must be 0 or more"), FieldViolation("evaluation.score", "is too high")]
    )
    bad_request = detail(status_of(error), BadRequest)
    assert bad_request is not None
    assert [v.field for v in bad_request.field_violations] == ["duration", "evaluation.score"]
    assert "evaluation.score is too high" in status_of(error).message


def test_a_thousand_wrong_fields_still_fit_into_the_trailers() -> None:
    error = InvalidFieldsError([FieldViolation(f"attributes[{i}]", "must be key=value") for i in range(1000)])
    assert status_of(error).ByteSize() < 8192


def test_a_missing_id_is_in_the_error_for_programs() -> None:
    info = detail(status_of(TraceNotFoundError("trace-1")), ErrorInfo)
    assert info is not None
    assert dict(info.metadata) == {"trace_id": "trace-1"}


def test_an_unforeseen_error_is_logged_under_the_id_that_the_caller_gets() -> None:
    with capture_logs() as logs:
        status = status_of(RuntimeError(SECRET))
    info = detail(status, ErrorInfo)
    assert info is not None
    assert info.metadata["error_id"] in status.message
    assert logs[0]["error_id"] == info.metadata["error_id"]


def test_the_log_names_the_place_and_the_causes_but_not_their_texts() -> None:
    def fail() -> None:
        try:
            int(SECRET)
        except ValueError as error:
            raise RuntimeError(SECRET) from error

    with pytest.raises(RuntimeError) as failure:
        fail()
    with capture_logs() as logs:
        status_of(failure.value)
    assert "RuntimeError" in logs[0]["traceback"]
    assert "ValueError" in logs[0]["traceback"]
    assert "in fail" in logs[0]["traceback"]
    assert "hunter2" not in str(logs)


def test_foreseen_errors_leave_no_trace_in_the_log() -> None:
    with capture_logs() as logs:
        status_of(TraceNotFoundError("t"))
    assert logs == []
