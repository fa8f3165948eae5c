"""`OTLPExporter`: spans of one's own, read back from the running program."""

import pytest
from opentelemetry import trace

from agent_tracer.client.telemetry import OTLPExporter
from agent_tracer.v1 import trace_pb2
from tests.e2e.talk import CALL_SECONDS, stubs, unique
from tests.fixtures.program import Program, free_ports


@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_spans_arrive_with_service_and_attributes(program: Program, transport: str) -> None:
    url = program.url if transport == "http" else f"grpc://127.0.0.1:{program.otlp_grpc}"
    service, before = unique("exporter"), trace.get_tracer_provider()
    exporter = OTLPExporter(url, service, {"deployment.environment.name": "test"})
    with pytest.raises(KeyError), exporter.start_span("outer", attributes={"n": 1}, kind="client") as outer:
        with exporter.start_span("inner") as inner:
            inner.set_attribute("done", True)
            inner.record_exception(ValueError("seen"))
        raise KeyError
    exporter.shutdown()
    assert exporter.dropped_spans == 0
    assert trace.get_tracer_provider() is before
    with stubs(program.target) as stub:
        request = trace_pb2.GetTraceRequest(trace_id=trace.format_trace_id(outer.get_span_context().trace_id))
        found = {span.name: span for span in stub.GetTrace(request, timeout=CALL_SECONDS).spans}
    assert (found["outer"].status, found["outer"].kind, found["inner"].status) == ("error", "client", "unset")
    assert found["inner"].parent_span_id == found["outer"].span_id
    assert {span.service for span in found.values()} == {service}
    assert dict(found["outer"].attributes)["n"] == 1


def test_a_wrong_address_is_told_and_one_that_nobody_serves_is_counted() -> None:
    with pytest.raises(ValueError, match="endpoint: "):
        OTLPExporter("not an address", "s")
    with OTLPExporter(f"http://127.0.0.1:{free_ports(1)[0]}", "s") as exporter:
        with exporter.start_span("lost"):
            pass
    assert exporter.dropped_spans == 1
