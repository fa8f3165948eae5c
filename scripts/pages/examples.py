"""Requests that work, one for each path with a body, and values for the variables of paths. Tests send them all."""

from collections.abc import Mapping
from typing import Any, Final

VALUES: Final[Mapping[str, str]] = {
    "trace_id": "trace-abc123",
    "agent_id": "api-builder-001",
    "incident_id": "incident-789",
    "benchmark_id": "benchmark-42",
}
"""By the field's name."""

BODIES: Final[Mapping[str, Mapping[str, Any]]] = {
    "/api/v1/traces": {
        "traceId": "trace-abc123",
        "agentId": "tdd-enforcer-001",
        "operation": "test-validation",
        "duration": 2500,
        "status": "success",
        "metadata": {"coverage": 85, "tests_run": 150},
    },
    "/api/v1/traces/{trace_id}/evaluations": {"name": "correctness", "score": 0.9, "annotator": "human"},
    "/api/v1/ace/score": {"agentId": "tdd-enforcer-001", "period": "24h"},
    "/api/v1/ace/benchmarks": {
        "agentId": "tdd-enforcer-001",
        "tasks": [{"type": "test-validation", "count": 50}],
        "compareAgainst": ["api-builder-001"],
    },
    "/api/v1/ace/compare": {"agentId": "tdd-enforcer-001", "base": "1.4.0", "candidate": "1.5.0"},
    "/api/v1/atlas/optimize": {"workflowId": "feature-development", "period": "7d"},
    "/api/v1/incidents": {"incidentId": "incident-789", "title": "Checkout is slow", "service": "checkout"},
    "/api/v1/rca": {"incidentId": "incident-789", "timeWindow": "1h", "depth": 3},
    "/api/v1/incidents/{incident_id}:analyze": {"timeWindow": "1h", "depth": 3},
    "/api/v1/correlations": {
        "traceId": "trace-abc123",
        "includeMetrics": True,
        "includeLogs": True,
        "includeEvents": True,
        "timeWindow": "5m",
    },
    "/api/v1/alerts": {
        "version": "4",
        "groupKey": '{}:{alertname="HighLatency"}',
        "status": "firing",
        "receiver": "agent-tracer",
        "groupLabels": {"alertname": "HighLatency"},
        "commonLabels": {"alertname": "HighLatency", "service": "checkout"},
        "alerts": [
            {
                "status": "firing",
                "labels": {"alertname": "HighLatency", "service": "checkout"},
                "startsAt": "2026-01-05T10:00:00Z",
                "fingerprint": "9f1b2c3d4e5f6071",
            }
        ],
    },
}
"""By path."""
