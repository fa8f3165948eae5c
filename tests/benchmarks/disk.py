"""Bytes on the disk a span, of plain spans and of LLM agents' spans, and Phoenix's beside them."""

from collections.abc import Mapping
from typing import Final

from tests.benchmarks import contenders
from tests.benchmarks.contenders import AgentTracer
from tests.benchmarks.options import Options
from tests.benchmarks.processes import settle, wait_until
from tests.benchmarks.report import Report, Target
from tests.benchmarks.sending import send

_SPANS: Final = 200_000
_PHOENIX_SPANS: Final = 2_988
_SHOWN_SECONDS_MAX: Final = 180
_PART_OF_PHOENIX_MAX: Final = 0.2


def measure(options: Options, report: Report) -> None:
    """Every span differs: the pool is as large as the load, so that nothing compresses that would not in life."""
    plain = _bytes_a_span(options, "plain")
    agent = _bytes_a_span(options, "agent")
    report.add("disk a plain span, 10 attributes, all tables", "B", [sum(plain.values())], Target(150))
    report.add("disk an LLM agent's span, all tables", "B", [sum(agent.values())])
    for kind, tables in (("plain", plain), ("agent", agent)):
        for table, size in tables.items():
            if size >= 1:
                report.add(f"  of a {kind} span in table {table}", "B", [size])
    for peer in contenders.installed_peers(options.peers):
        size = _peer_bytes_a_span(options, peer)
        report.add("disk an LLM agent's span", "B", [size], of=peer)
        target = Target(_PART_OF_PHOENIX_MAX) if peer == "phoenix" else None
        report.ratio(f"disk an LLM agent's span, ours over {peer}", [sum(agent.values())], [size], target)


def _bytes_a_span(options: Options, kind: str) -> Mapping[str, float]:
    """By table, after merges and a stop in good order."""
    with contenders.fresh_folder(options.folder, kind) as folder:
        server = AgentTracer(folder)
        with contenders.started(server):
            sent = send(server.target, kind=kind, spans=_SPANS, pool=_SPANS)
            wait_until(lambda: server.shows(sent), _SHOWN_SECONDS_MAX)
            settle(server.pid)
        tables = contenders.stored_tables(server.data)
    return {name: size / sent.acknowledged for name, (_, size) in tables.items()}


def _peer_bytes_a_span(options: Options, peer: str) -> float:
    spans = _PHOENIX_SPANS if peer == "phoenix" else _SPANS // 4
    with contenders.fresh_folder(options.folder, peer) as folder:
        server = contenders.make(peer, folder)
        with contenders.started(server):
            sent = send(server.target, spans=spans, pool=spans)
            wait_until(lambda: server.shows(sent), _SHOWN_SECONDS_MAX)
            settle(server.pid)
        return server.stored()[1] / sent.acknowledged
