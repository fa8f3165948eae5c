"""What metric series are called, by number; kept, because a number stands for one set of labels for ever."""

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.adapters.clickhouse.engine import Engine, Row
from agent_tracer.server.adapters.clickhouse.telemetry.buckets import Buckets
from agent_tracer.server.adapters.clickhouse.telemetry.reading import read
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.limits import SERIES_LABELS_KEPT_BYTES_MAX

_LABELS: Final = """
SELECT series, any(metric), any(service), any(mapKeys(attributes)), any(mapValues(attributes)), any(mapKeys(resource)),
  any(mapValues(resource))
FROM metric_points WHERE tenant = {{tenant:String}} AND {within} AND series IN {{series:Array(UInt64)}}
GROUP BY series
"""
_OVERHEAD_BYTES: Final = 80
"""Of a text in memory beside its letters."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Of one series."""

    metric: str
    service: str
    attributes: Mapping[str, str]
    resource: Mapping[str, str]

    def size(self) -> int:
        """Bytes in memory, about."""
        pairs = [*self.attributes.items(), *self.resource.items()]
        return sum(len(key) + len(text) + 2 * _OVERHEAD_BYTES for key, text in [*pairs, (self.metric, self.service)])


class SeriesLabels:
    """Reads labels of series, and keeps SERIES_LABELS_KEPT_BYTES_MAX of those asked for last.

    Reading them takes as long as reading their values: maps of all points, since every block of rows has some of each.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kept: OrderedDict[tuple[TenantId, int], Labels] = OrderedDict()
        self._size = 0

    async def of(self, tenant: TenantId, buckets: Buckets, series: Mapping[int, Sequence[int]]) -> Mapping[int, Labels]:
        """By number of the series; `series`: the positions at which each has values. One that is gone is left out."""
        found: dict[int, Labels] = {}
        for number in series:
            labels = self._kept.get((tenant, number))
            if labels is not None:
                self._kept.move_to_end((tenant, number))
                found[number] = labels
        unknown = series.keys() - found.keys()
        if unknown:
            # Of most a single bucket tells it, which is read faster than all.
            widest = Counter(at for number in unknown for at in series[number]).most_common(1)[0][0]
            for part in (buckets.only(widest), buckets):
                read_now = await self._read(tenant, part, unknown)
                found.update(read_now)
                unknown -= read_now.keys()
                if not unknown:
                    break
        return found

    async def _read(self, tenant: TenantId, buckets: Buckets, series: "set[int]") -> Mapping[int, Labels]:
        statement = _LABELS.format(within=buckets.within("time"))
        rows = await read(self._engine, statement, {"tenant": tenant, "series": sorted(series)})
        found = {row[0]: _labels(row) for row in rows}
        for number, labels in found.items():
            self._keep((tenant, number), labels)
        return found

    def _keep(self, key: tuple[TenantId, int], labels: Labels) -> None:
        if key in self._kept:
            return
        self._kept[key] = labels
        self._size += labels.size()
        while self._size > SERIES_LABELS_KEPT_BYTES_MAX:
            _, dropped = self._kept.popitem(last=False)
            self._size -= dropped.size()


def _labels(row: Row) -> Labels:
    _, metric, service, *pairs = row
    return Labels(_text(metric), _text(service), _texts(*pairs[:2]), _texts(*pairs[2:]))


def _texts(keys: Sequence[bytes], texts: Sequence[bytes]) -> Mapping[str, str]:
    return {_text(key): _text(text) for key, text in zip(keys, texts, strict=True)}


def _text(name: bytes) -> str:
    return name.decode(errors="replace")
