"""`PrometheusExporter`: an agent's own metrics on a port of its own, for Prometheus to fetch."""

import math
import re
import threading
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, Self

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

__all__ = ["PrometheusExporter"]

_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
"""Names that every Prometheus and every query takes without quotes."""

DEFAULT_PORT: Final = 9464
"""Where OpenTelemetry's Prometheus exporters are by convention."""


class PrometheusExporter:
    """Serves `/metrics` with a registry of its own.

    exporter = PrometheusExporter(9464, "my_agent")
    exporter.counter("tasks_total", "Tasks done", ["status"])
    exporter.inc("tasks_total", labels={"status": "success"})

    This is a direct interface, not telemetry beside the agent's work, so wrong use is told at once: a ValueError for a
    name that is not declared, declared twice as something else, or not of that kind; for labels that are missing or
    unknown; for a value that a metric cannot have. Declaring the same metric again changes nothing.
    """

    def __init__(self, port: int = DEFAULT_PORT, prefix: str = "", *, address: str = "127.0.0.1") -> None:
        """Start serving.

        Args:
            port: 0 picks a free one, which `port` tells.
            prefix: Put before every name, with `_` between.
            address: Where to listen; this machine alone by default.

        Raises:
            ValueError: The port is none.
            OSError: Somebody else listens there.
        """
        if not 0 <= port <= 65_535:  # noqa: PLR2004 - TCP's
            raise ValueError(f"port: {port} is no port; write 0 to 65535, 0 for a free one")
        self.registry: Final = CollectorRegistry()
        self._prefix = f"{prefix.rstrip('_')}_" if prefix else ""
        self._metrics: dict[str, Counter | Gauge | Histogram] = {}
        self._declared: dict[str, tuple[Any, ...]] = {}
        self._lock = threading.Lock()
        self._server, self._thread = start_http_server(port, addr=address, registry=self.registry)
        self.port: Final = int(self._server.server_port)
        self.url: Final = f"http://{address}:{self.port}/metrics"

    def counter(self, name: str, help: str = "", labels: Sequence[str] = ()) -> None:  # noqa: A002 - Prometheus's word
        """Declare what only grows. Prometheus reads its name with `_total` at the end."""
        self._declare(Counter, name, help, labels)

    def gauge(self, name: str, help: str = "", labels: Sequence[str] = ()) -> None:  # noqa: A002 - Prometheus's word
        """Declare what goes up and down."""
        self._declare(Gauge, name, help, labels)

    def histogram(
        self,
        name: str,
        help: str = "",  # noqa: A002 - Prometheus's word
        labels: Sequence[str] = (),
        buckets: Sequence[float] | None = None,
    ) -> None:
        """Declare a distribution. `buckets` are upper bounds in rising order; Prometheus's own where None."""
        if buckets is not None:
            bounds = tuple(float(bound) for bound in buckets)
            if not bounds or any(low >= high for low, high in pairwise(bounds)):
                raise ValueError(f"{name}: buckets must be in rising order, and one at least")
            self._declare(Histogram, name, help, labels, buckets=bounds)
        else:
            self._declare(Histogram, name, help, labels)

    def inc(self, name: str, value: float = 1, labels: Mapping[str, Any] | None = None) -> None:
        """Add to a counter (nothing below 0) or a gauge."""
        metric = self._found(name, (Counter, Gauge), "inc")
        if isinstance(metric, Counter) and value < 0:
            raise ValueError(f"{name}: a counter cannot shrink by {value}; declare a gauge")
        self._labelled(name, metric, labels).inc(_number(name, value))

    def dec(self, name: str, value: float = 1, labels: Mapping[str, Any] | None = None) -> None:
        """Take from a gauge."""
        self._labelled(name, self._found(name, (Gauge,), "dec"), labels).dec(_number(name, value))

    def observe(self, name: str, value: float, labels: Mapping[str, Any] | None = None) -> None:
        """Count a value into a histogram."""
        self._labelled(name, self._found(name, (Histogram,), "observe"), labels).observe(_number(name, value))

    def set(self, name: str, value: float, labels: Mapping[str, Any] | None = None) -> None:
        """Set a gauge."""
        self._labelled(name, self._found(name, (Gauge,), "set"), labels).set(_number(name, value))

    def shutdown(self) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    close = shutdown

    def __enter__(self) -> Self:
        """The exporter, ended by `with`."""
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self.shutdown()

    def _declare(self, kind: Any, name: str, text: str, labels: Sequence[str], **others: Any) -> None:  # noqa: ANN401
        names = (labels,) if isinstance(labels, str) else tuple(labels)
        declared = (kind, names, tuple(others.items()))
        key = self._key(name)
        if wrong := [one for one in (self._prefix + key, *names) if not _NAME.fullmatch(one)]:
            raise ValueError(f"{name}: {wrong[0]!r} is no name; write letters, digits and _, no digit first")
        with self._lock:
            if key in self._declared:
                if self._declared[key] != declared:
                    raise ValueError(f"{name}: already declared with another kind, other labels or other buckets")
                return
            self._metrics[key] = kind(self._prefix + key, text or name, names, registry=self.registry, **others)
            self._declared[key] = declared

    def _key(self, name: str) -> str:
        """A name without the prefix, which a caller may write or leave out."""
        return name.removeprefix(self._prefix) if self._prefix else name

    def _found(self, name: str, kinds: tuple[Any, ...], method: str) -> Any:  # noqa: ANN401 - one of three
        metric = self._metrics.get(self._key(name))
        if metric is None:
            raise ValueError(f"{name}: not declared; call counter(), gauge() or histogram() first")
        if not isinstance(metric, kinds):
            raise ValueError(f"{name}: {method}() is not for a {type(metric).__name__.lower()}")  # noqa: TRY004 - as said
        return metric

    def _labelled(self, name: str, metric: Any, labels: Mapping[str, Any] | None) -> Any:  # noqa: ANN401
        names = self._declared[self._key(name)][1]
        given = dict(labels or {})
        if set(given) != set(names):
            raise ValueError(f"{name}: labels are {sorted(names)}, not {sorted(given)}")
        return metric.labels(**{key: str(value) for key, value in given.items()}) if names else metric


def _number(name: str, value: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: {value!r} is no number") from None
    if math.isnan(number):
        raise ValueError(f"{name}: NaN would spoil every sum")
    return number
