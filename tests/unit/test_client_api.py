"""The client's tables against the protos, its retries, its errors, and what importing it costs."""

import pickle
import subprocess
import sys

import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

import agent_tracer.client
from agent_tracer.betterproto.agent_tracer.v1 import BenchmarkTask, CreateTraceRequest, ErrorReason, GetTraceRequest
from agent_tracer.client.api import errors
from agent_tracer.client.api.calls import Stream, Unary
from agent_tracer.client.api.endpoint import Endpoint
from agent_tracer.client.api.requests import benchmark_request, create_trace_request
from agent_tracer.client.api.retrying import Retries
from agent_tracer.client.api.services import AceService, AtlasService, CorrelationService, TraceService
from agent_tracer.v1 import ace_pb2, atlas_pb2, correlation_pb2, trace_pb2

SERVICES = [
    (TraceService, trace_pb2.DESCRIPTOR.services_by_name["TraceService"]),
    (AceService, ace_pb2.DESCRIPTOR.services_by_name["AceService"]),
    (AtlasService, atlas_pb2.DESCRIPTOR.services_by_name["AtlasService"]),
    (CorrelationService, correlation_pb2.DESCRIPTOR.services_by_name["CorrelationService"]),
]
HERE = Endpoint("127.0.0.1", 50051)


@pytest.mark.parametrize(
    ("service", "described"), SERVICES, ids=lambda value: value.__name__ if isinstance(value, type) else ""
)
def test_every_method_of_the_protos_is_there_and_no_other(service: type, described: object) -> None:
    table = {name: type(method) for name, method in vars(service).items() if isinstance(method, Unary | Stream)}
    assert table == {
        "".join(f"_{c.lower()}" if c.isupper() else c for c in method.name)[1:]: Stream
        if method.server_streaming
        else Unary
        for method in described.methods  # type: ignore[attr-defined]
    }
    assert service.stub.__name__ == f"{described.name}Stub"  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", ["score_agent", "create_benchmark"])
def test_a_method_says_what_it_is(method: str) -> None:
    tracer = agent_tracer.client.AgentTracer("localhost")
    assert getattr(tracer.ace, method).__name__ == getattr(tracer.sync.ace, method).__name__ == method
    assert getattr(tracer.ace, method).__doc__.strip()


@pytest.mark.parametrize("args", [(GetTraceRequest(),), (CreateTraceRequest(), "agent")])
async def test_another_methods_message_is_refused_before_it_is_sent(args: tuple[object, ...]) -> None:
    with pytest.raises(TypeError, match="create_trace takes a CreateTraceRequest alone, or its fields"):
        await agent_tracer.client.AgentTracer("localhost").traces.create_trace(*args)  # type: ignore[call-overload]


def test_waits_grow_and_end() -> None:
    gone = errors.UnavailableError("gone", code=Status.UNAVAILABLE)
    retries = Retries(6)
    waits = [retries.wait_seconds(gone, n, repeatable=True, random=lambda: 0.0) for n in range(1, 8)]
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, None]
    assert retries.wait_seconds(gone, 1, repeatable=True, random=lambda: 1.0) == pytest.approx(0.125)
    assert retries.wait_seconds(gone, 1, repeatable=False, random=lambda: 0.0) is None


def test_the_servers_own_time_is_waited_for_in_full_by_any_call() -> None:
    full = errors.OverloadedError("full", retry_seconds=3.0)
    assert Retries(1).wait_seconds(full, 1, repeatable=False, random=lambda: 0.0) == 3.0
    assert Retries(1).wait_seconds(full, 1, repeatable=False, random=lambda: 1.0) == 3.75
    assert Retries(0).wait_seconds(full, 1, repeatable=True, random=lambda: 0.0) is None
    assert Retries(1).wait_seconds(errors.NotFoundError("no"), 1, repeatable=True, random=lambda: 0.0) is None


def refused(status: Status, reason: str = "", *more: object) -> errors.AgentTracerError:
    info = [error_details_pb2.ErrorInfo(reason=reason, metadata={"k": "v"})] if reason else []
    return errors.translated(GRPCError(status, "text", [*info, *more]), HERE, 1.0)


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (Status.INVALID_ARGUMENT, "INVALID_FIELD", errors.InvalidArgumentError),
        (Status.NOT_FOUND, "TRACE_NOT_FOUND", errors.NotFoundError),
        (Status.NOT_FOUND, "AGENT_NOT_FOUND", errors.NotFoundError),
        (Status.NOT_FOUND, "WORKFLOW_NOT_FOUND", errors.NotFoundError),
        (Status.NOT_FOUND, "INCIDENT_NOT_FOUND", errors.NotFoundError),
        (Status.NOT_FOUND, "BENCHMARK_NOT_FOUND", errors.NotFoundError),
        (Status.NOT_FOUND, "SPAN_NOT_FOUND", errors.NotFoundError),
        (Status.NOT_FOUND, "PATH_NOT_FOUND", errors.NotFoundError),
        (Status.ALREADY_EXISTS, "ID_CONFLICT", errors.ConflictError),
        (Status.RESOURCE_EXHAUSTED, "OVERLOADED", errors.OverloadedError),
        (Status.RESOURCE_EXHAUSTED, "TOO_LARGE", errors.TooLargeError),
        (Status.UNAVAILABLE, "BACKEND_DOWN", errors.UnavailableError),
        (Status.UNAUTHENTICATED, "KEY_INVALID", errors.KeyInvalidError),
        (Status.PERMISSION_DENIED, "ROLE_TOO_LOW", errors.PermissionDeniedError),
        (Status.PERMISSION_DENIED, "ORIGIN_REFUSED", errors.PermissionDeniedError),
        (Status.DEADLINE_EXCEEDED, "DEADLINE_PASSED", errors.DeadlineError),
        (Status.CANCELLED, "CALL_CANCELLED", errors.CallCancelledError),
        (Status.UNIMPLEMENTED, "NOT_BUILT", errors.UnimplementedError),
        (Status.INTERNAL, "INTERNAL", errors.InternalError),
        (Status.FAILED_PRECONDITION, "NO_DATA", errors.NoDataError),
        (Status.UNKNOWN, "A_LATER_ONE", errors.AgentTracerError),
    ],
)
def test_each_reason_has_its_exception(status: Status, reason: str, kind: type[errors.AgentTracerError]) -> None:
    error = refused(status, reason)
    assert type(error) is kind
    assert (error.reason, error.code, error.metadata, str(error)) == (reason, status, {"k": "v"}, "text")


def test_no_reason_is_forgotten_above() -> None:
    cases = test_each_reason_has_its_exception.pytestmark[0].args[1]  # type: ignore[attr-defined]
    assert {reason for _, reason, _ in cases} >= {reason.name for reason in ErrorReason} - {"UNSPECIFIED"}


def test_details_become_violations_and_seconds() -> None:
    violation = error_details_pb2.BadRequest.FieldViolation(field="page_size", description="too small")
    retry = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000))
    bad = error_details_pb2.BadRequest(field_violations=[violation])
    error = refused(Status.INVALID_ARGUMENT, "INVALID_FIELD", bad, retry, "of a kind that nobody knows")
    assert error.violations == (errors.FieldViolation("page_size", "too small"),)
    assert error.retry_seconds == 1.5


def test_errors_of_the_transport_say_what_to_do() -> None:
    nobody = errors.translated(ConnectionRefusedError(111, "Connect call failed"), HERE, 1.0)
    lost = errors.translated(StreamTerminatedError("Connection lost"), HERE, 1.0)
    late = errors.translated(TimeoutError("Deadline exceeded"), HERE, 1.0)
    assert isinstance(nobody, errors.UnavailableError)
    assert "127.0.0.1:50051 (Connect call failed): start one with `agent-tracer start`" in str(nobody)
    assert isinstance(lost, errors.UnavailableError)
    assert isinstance(late, errors.DeadlineError)


def test_errors_go_from_process_to_process() -> None:
    error = refused(Status.NOT_FOUND, "TRACE_NOT_FOUND")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (type(again), str(again), again.reason, again.code) == (type(error), "text", error.reason, error.code)


def test_a_benchmark_is_of_the_first_agent_and_tasks_go_by_their_types() -> None:
    request = benchmark_request(agents=["a", "b", "a"], tasks=["review", BenchmarkTask(type="plan", count=3)])
    assert (request.agent_id, request.compare_against) == ("a", ["b"])
    assert [(task.type, task.count) for task in request.tasks] == [("review", 0), ("plan", 3)]
    named = benchmark_request("b", compare_against=["c"], agents=["a", "b"])
    assert (named.agent_id, named.compare_against) == ("b", ["a", "c"])


def test_metadata_may_be_a_dict() -> None:
    request = create_trace_request("t", "a", "o", metadata={"n": 1, "deep": {"list": [True, None, "x"]}})
    assert request.metadata is not None
    assert request.metadata.to_dict() == {"n": 1, "deep": {"list": [True, None, "x"]}}
    assert create_trace_request("t", "a", "o").metadata is None


def test_importing_the_client_loads_nothing_of_it() -> None:
    script = (
        "import sys, agent_tracer.client as c; dir(c); print([m for m in sys.modules if 'grpc' in m or 'opentel' in m])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=180, check=True)
    assert done.stdout == "[]\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        agent_tracer.client.no_such_name  # noqa: B018 - reading it is the test


@pytest.mark.parametrize("name", agent_tracer.client.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(agent_tracer.client, name) is not None
