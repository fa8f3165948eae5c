"""What telemetry means to the server, and the server's own metrics."""

from collections.abc import Sequence

from prometheus_client.core import Metric
from prometheus_client.registry import CollectorRegistry

from agent_tracer.server.adapters.export_metrics import ExportCounters, ExportLagCollector
from agent_tracer.server.adapters.journal import JournalState, JournalStats, ReaderStats
from agent_tracer.server.adapters.journal_metrics import JournalCollector
from agent_tracer.server.adapters.prometheus import PrometheusMetrics
from agent_tracer.server.adapters.rpc_metrics import PrometheusRpcs
from agent_tracer.server.adapters.score_metrics import PrometheusScores
from agent_tracer.server.adapters.work_metrics import PrometheusWork
from agent_tracer.server.domain.ace.scores import AgentScore, ScoringWeights
from agent_tracer.server.domain.semantics import CALL_KINDS, COLUMNS, SPAN_KINDS
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.ports.journal import Position
from agent_tracer.server.ports.work_counts import CALL_SECONDS, TASK_SECONDS, CallGroup, Durations, TaskGroup
from agent_tracer.server.services.forwarding import ForwarderState
from scripts.pages.markdown import code, page, table


def semantics() -> str:
    """The normalisation table."""
    rows = [(code(c.name), c.type.value, c.meaning, ", ".join(map(code, c.attributes))) for c in COLUMNS]
    kinds: dict[str, list[str]] = {}
    for sent, kind in SPAN_KINDS.items():
        kinds.setdefault(kind, []).append(sent)
    return page(
        "Semantics",
        "server/agent_tracer/server/domain/semantics.py",
        "Which span attribute means what. Of a column's attributes the first one that a span has is taken: "
        "OpenTelemetry's GenAI conventions, then OpenInference, then vendors and older names. Every attribute is "
        "also kept as it was sent.",
        table(("column", "type", "meaning", "attributes, best first"), rows),
        "## Kinds of spans",
        "The operation or span kind as sent, in lower case, decides. Without a known one a span with a model and "
        "tokens is an `llm`; any other keeps OpenTelemetry's kind (`internal`, `server`, `client`, `producer`, "
        "`consumer`).",
        table(("kind", "sent as"), [(code(kind), ", ".join(map(code, sent))) for kind, sent in kinds.items()]),
        "## Tokens and cost",
        f"Counted at the calls themselves (kinds {', '.join(map(code, CALL_KINDS))}), for an agent's or a chain's own "
        "figures repeat those of the calls under it. Input includes cached tokens and output includes reasoning; "
        "where a convention leaves them out, they are added. The sender's own cost comes first, then the price list "
        "at the time of the call; a call that neither prices has no cost, and neither has its trace.",
    )


_OPEN_LABELS = {
    "provider": "as telemetry has it",
    "model": "as telemetry has it",
    "agent_type": "as telemetry has it",
    "agent_id": "as telemetry has it",
    "exporter": "as configured",
    "service": "full name of a gRPC service",
    "method": "its method",
    "code": "gRPC status code",
    "reader": "loader, exporters",
}
"""Labels whose values are not a fixed set of the server's own."""


def metric_families() -> Sequence[Metric]:
    """The server's metrics, as they are when one of everything has happened."""
    registry = CollectorRegistry()
    PrometheusMetrics(registry)
    loader = ReaderStats(
        "loader", required=True, committed=Position(0), lag_bytes=0, skipped_records=0, skipped_bytes=0
    )
    zero = dict.fromkeys(JournalStats.__dataclass_fields__, 0)
    stats = JournalStats(**{**zero, "state": JournalState.ACCEPTING, "readers": (loader,)})  # type: ignore[arg-type]
    registry.register(JournalCollector(lambda: stats))
    PrometheusRpcs(registry)("/service/method", "OK", 0.0)
    registry.register(_some_work())
    PrometheusScores(registry).scored("agent", AgentScore(0.0, 0.0, 0.0, 0.0, 0, ScoringWeights()).present)
    ExportCounters(registry).of("exporter", frozenset(Signal))
    registry.register(ExportLagCollector({"exporter": lambda: ForwarderState("", 0, 0.0)}))
    return [family for family in registry.collect() if not family.name.endswith("_created")]


def _some_work() -> PrometheusWork:
    work = PrometheusWork()
    for status in ("success", "error", "timeout"):
        work.called(CallGroup("provider", "model", status, Durations(0, 0.0, [0] * len(CALL_SECONDS)), cost=0.0))
        work.worked(TaskGroup("agent_type", status, Durations(0, 0.0, [0] * len(TASK_SECONDS))))
    return work


def metrics() -> str:
    """Names, types and labels, from the registry itself."""
    rows = []
    for family in metric_families():
        labels: dict[str, dict[str, None]] = {}
        for sample in family.samples:
            for label, value in sample.labels.items():
                if label != "le":
                    labels.setdefault(label, {})[value] = None
        told = "; ".join(
            f"{code(label)}: {_OPEN_LABELS.get(label) or ', '.join(values)}" for label, values in labels.items()
        )
        name = f"{family.name}_total" if family.type == "counter" else family.name
        rows.append((code(name), family.type, family.documentation, told))
    return page(
        "Metrics",
        "the metrics modules of server/agent_tracer/server/adapters",
        "In Prometheus' format at `/metrics`, on the metrics port (`metrics.prometheus.port`) and on the port of "
        "TraceService. Series whose labels come from fixed sets are there from the start, others from their first "
        "event on. All counters, and the gauge of cost, start at zero with the server.",
        table(("metric", "type", "meaning", "labels"), rows),
        "For each signal, received = accepted + rejected while no request is under way, and accepted = stored + "
        "quarantined once the journal is empty.",
        "What is counted of calls and tasks, and when, is in [operations](../operations.md#the-agents-work).",
    )
