"""An agent's own metrics, fetched as Prometheus does."""

import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent_tracer.client.telemetry import PrometheusExporter


@pytest.fixture
def exporter() -> Iterator[PrometheusExporter]:
    with PrometheusExporter(0, "agent") as made:
        yield made


def fetched(exporter: PrometheusExporter) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{exporter.port}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_each_kind_is_served(exporter: PrometheusExporter) -> None:
    exporter.counter("tasks_total", "Tasks", ["status"])
    exporter.gauge("open", "Open tasks")
    exporter.histogram("seconds", "Durations", ["kind"], buckets=[0.1, 1, 10])
    exporter.inc("tasks_total", labels={"status": "success"})
    exporter.inc("agent_tasks_total", 2, {"status": "success"})
    exporter.set("open", 5)
    exporter.inc("open", 2)
    exporter.dec("open")
    exporter.observe("seconds", 0.5, {"kind": "a"})
    found = fetched(exporter)
    assert found["agent_tasks_total", (("status", "success"),)] == 3
    assert found["agent_open", ()] == 6
    assert found["agent_seconds_bucket", (("kind", "a"), ("le", "0.1"))] == 0
    assert found["agent_seconds_bucket", (("kind", "a"), ("le", "1.0"))] == 1
    assert found["agent_seconds_sum", (("kind", "a"),)] == 0.5


def test_two_exporters_know_nothing_of_each_other(exporter: PrometheusExporter) -> None:
    with PrometheusExporter(0, "agent") as other:
        exporter.gauge("x")
        other.gauge("x")
        exporter.set("x", 1)
        other.set("x", 2)
        assert (fetched(exporter)["agent_x", ()], fetched(other)["agent_x", ()]) == (1, 2)
        assert exporter.port != other.port


def test_declaring_again_changes_nothing_and_otherwise_is_refused(exporter: PrometheusExporter) -> None:
    exporter.counter("a", "A", ["x"])
    exporter.counter("a", "A", ["x"])
    with pytest.raises(ValueError, match="already declared"):
        exporter.gauge("a", "A", ["x"])


@pytest.mark.parametrize(
    ("use", "why"),
    [
        (lambda e: e.inc("nothing"), "nothing: not declared"),
        (lambda e: e.observe("c", 1, {"x": "1"}), r"c: observe\(\) is not for a counter"),
        (lambda e: e.inc("c"), r"c: labels are \['x'\], not \[\]"),
        (lambda e: e.inc("c", 1, {"y": "1"}), "labels are"),
        (lambda e: e.inc("c", -1, {"x": "1"}), "cannot shrink"),
        (lambda e: e.set("g", float("nan")), "NaN"),
        (lambda e: e.set("g", "much"), "no number"),
        (lambda e: e.histogram("h", buckets=[2, 1]), "rising"),
        (lambda e: e.counter("no name"), "is no name"),
        (lambda _: PrometheusExporter(70_000), "no port"),
    ],
)
def test_wrong_use_is_told(exporter: PrometheusExporter, use: object, why: str) -> None:
    exporter.counter("c", "C", ["x"])
    exporter.gauge("g")
    with pytest.raises(ValueError, match=why):
        use(exporter)  # type: ignore[operator]
