"""Log records by service, severity and template: masked and counted in SQL, then like lines put together."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from drain3 import TemplateMiner
from drain3.template_miner_config import TemplateMinerConfig

from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.sql import array, quoted
from agent_tracer.server.adapters.clickhouse.telemetry.bodies import ERROR_KEYS, body_value, line, masked
from agent_tracer.server.adapters.clickhouse.telemetry.buckets import Buckets
from agent_tracer.server.adapters.clickhouse.telemetry.events import IS_CHANGE
from agent_tracer.server.adapters.clickhouse.telemetry.log_places import line_hash, place
from agent_tracer.server.adapters.clickhouse.telemetry.reading import read
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.rca.view import WARNING_SEVERITY, LogSeries
from agent_tracer.server.limits import LOG_BODY_BYTES_READ_MAX, LOG_TEMPLATES_READ_MAX, TELEMETRY_SAMPLE_LOGS_MAX
from agent_tracer.server.ports.telemetry_window import Found

_MASKED_BYTES: Final = 300
"""Of a line, to tell it from others."""
_SIMILARITY: Final = 0.7
"""Share of words in which two lines must agree to be one template: a failure's name must not be lost in a wildcard."""

_SEVERITIES: Final = {
    "trace": 1, "debug": 5, "dbg": 5, "verbose": 5, "info": 9, "information": 9, "notice": 10, "warn": 13,
    "warning": 13, "err": 17, "error": 17, "severe": 17, "crit": 21, "critical": 21, "fatal": 21, "alert": 21,
    "emerg": 21, "emergency": 21, "panic": 21,
}  # fmt: skip
_SEVERITY: Final = (
    f"toUInt8(if(severity_number BETWEEN 1 AND 24, severity_number, transform(lower(toString(severity_text)), "
    f"{array(map(quoted, _SEVERITIES))}, {array(map(str, _SEVERITIES.values()))}, 9)))"
)
_ERRORS: Final = f"arrayMap(k -> attributes[k], {array(map(quoted, ERROR_KEYS))})"
_BODY: Final = f"left(body, {_MASKED_BYTES})"
# Most records tell no errors, and are spared looking for each.
_LINE: Final = (
    f"if(hasAny(mapKeys(attributes), {array(map(quoted, ERROR_KEYS))}), "
    f"concat({_BODY}, left(arrayStringConcat({_ERRORS}, ' '), {_MASKED_BYTES})), {_BODY})"
)
_MASKED: Final = f"replaceRegexpAll({_LINE}, '[0-9a-fA-F-]*[0-9][0-9a-fA-F-]*', '#')"
_PLACE: Final = place("attributes", "body")
_HASH: Final = line_hash("place", "masked")

# Of many records those below a warning are a sample, each standing for as many as it was chosen out of.
_ROWS: Final = """
SELECT service, severity, {hash} AS line, ns, {position} AS position, if(severity >= {warning}, 1, {one_in}) AS stands_for
FROM (
  SELECT service, {severity} AS severity, {place} AS place, {masked} AS masked, toUnixTimestamp64Nano(time) AS ns
  FROM logs
  PREWHERE tenant = {{tenant:String}} AND {within} AND service != ''
    AND ({severity} >= {warning} OR cityHash64(time, service) % {one_in} = 0)
  WHERE NOT {change})
"""
_COUNTED: Final = """
SELECT service, severity, line, groupArray(position) AS positions, groupArray(records) AS counts, min(first_ns),
  sumIf(records, {during}) AS later, sum(records) AS whole, count() OVER ()
FROM (
  SELECT service, severity, line, position, sum(stands_for) AS records, min(ns) AS first_ns
  FROM ({rows}) GROUP BY service, severity, line, position)
GROUP BY service, severity, line
QUALIFY row_number() OVER (ORDER BY whole DESC, line) <= {half}
  OR row_number() OVER (ORDER BY abs(log((later + 0.5) / (whole - later + 0.5) / {share})) * log(1 + whole) DESC, line) <= {half}
"""
_LINES: Final = """
SELECT service, severity, {hash} AS line, min((left(body, {bytes}), body_type, errors, place)) FROM (
  SELECT service, {severity} AS severity, {place} AS place, {masked} AS masked, body, body_type,
    arrayMap(t -> left(t, {bytes}), {errors}) AS errors
  FROM logs WHERE tenant = {{tenant:String}} AND {within} AND NOT {change}
    AND time IN (SELECT fromUnixTimestamp64Nano(arrayJoin({{times:Array(Int64)}}), 'UTC')))
GROUP BY service, severity, line
"""
_OBSERVED: Final = """
SELECT count(), groupUniqArray({position}) FROM (
  SELECT toUnixTimestamp64Nano(time) AS ns FROM logs WHERE tenant = {{tenant:String}} AND {within})
"""


async def log_series(engine: Engine, tenant: TenantId, buckets: Buckets) -> Found[LogSeries]:
    """Templates, of at most LOG_TEMPLATES_READ_MAX different lines: the most frequent, and those that changed most."""
    ((count, observed),) = await read(
        engine, _OBSERVED.format(within=buckets.within("time"), position=buckets.position("ns")), {"tenant": tenant}
    )
    one_in = max(1, -(-count // TELEMETRY_SAMPLE_LOGS_MAX))
    places = {
        "warning": WARNING_SEVERITY,
        "one_in": one_in,
        "severity": _SEVERITY,
        "hash": _HASH,
        "place": _PLACE,
        "masked": _MASKED,
        "change": IS_CHANGE,
        "within": buckets.within("time"),
        "position": buckets.position("ns"),
    }
    rows = await read(
        engine,
        _COUNTED.format(
            rows=_ROWS.format(**places),
            during=buckets.is_of(buckets.during, "position"),
            share=len(buckets.during) / max(len(buckets.before), 1),
            half=LOG_TEMPLATES_READ_MAX // 2,
        ),
        {"tenant": tenant},
    )
    if not rows:
        return Found(())
    lines = await read(
        engine,
        _LINES.format(**places, errors=_ERRORS, bytes=LOG_BODY_BYTES_READ_MAX),
        {"tenant": tenant, "times": sorted({row[5] for row in rows})},
    )
    shown = {tuple(row[:3]): (_text(row[3][3]), _shown(*row[3][:3])) for row in lines}
    told = [(_text(row[0]), row[1], shown.get(tuple(row[:3]), ("", "")), row[3], row[4]) for row in rows]
    # In a thread, as wherever rows become series: thousands take part of a second, in which other calls go on.
    series, different = await asyncio.to_thread(_series, buckets, buckets.blank(observed), told), rows[0][-1]
    return Found(series, _caveats(count, one_in, different, len(rows)), different - len(rows))


def _caveats(records: int, one_in: int, lines: int, read: int) -> list[str]:
    said = []
    if one_in > 1:
        said.append(f"logs: of {records} records all warnings and errors, and one in {one_in} of the others")
    if lines > read:
        said.append(f"logs: of {lines} different lines the {read} that tell most")
    return said


def _series(
    buckets: Buckets, blank: Sequence[float], told: "list[tuple[str, int, tuple[str, str], list[int], list[int]]]"
) -> list[LogSeries]:
    groups: dict[tuple[str, int], list[tuple[tuple[str, str], list[int], list[int]]]] = defaultdict(list)
    for service, severity, text, positions, counts in sorted(told):
        groups[service, severity].append((text, positions, counts))
    found = []
    for (service, severity), members in groups.items():
        templates = _templates([text for text, _, _ in members])
        sums: dict[str, dict[int, float]] = defaultdict(lambda: defaultdict(float))
        for template, (_, positions, counts) in zip(templates, members, strict=True):
            for position, count in zip(positions, counts, strict=True):
                sums[template][position] += count
        found += [
            LogSeries(service, template, severity, buckets.series(blank, of.keys(), of.values()))
            for template, of in sums.items()
        ]
    return found


def _templates(told: Sequence[tuple[str, str]]) -> list[str]:
    """The template of each line, of places and texts: behind a place the text as it is, which one record has.

    Else by Drain (He and others, ICWS 2017). The same lines give the same templates.
    """
    mined = iter(_mined([text for place_, text in told if not place_]))
    return [f"{place_} {text}" if place_ else next(mined) for place_, text in told]


def _mined(texts: Sequence[str]) -> list[str]:
    config = TemplateMinerConfig()
    config.drain_sim_th = _SIMILARITY
    config.profiling_enabled = False
    miner = TemplateMiner(config=config)
    clusters = [miner.drain.add_log_message(text)[0] for text in texts]
    return [cluster.get_template() if cluster.size > 1 else text for cluster, text in zip(clusters, texts, strict=True)]


def _shown(body: bytes, body_type: int, errors: Sequence[bytes]) -> str:
    told = {key: _text(text) for key, text in zip(ERROR_KEYS, errors, strict=True)}
    return masked(line(body_value(body_type, body), told)[:LOG_BODY_BYTES_READ_MAX])


def _text(name: bytes) -> str:
    return name.decode(errors="replace")
