"""Learns the price of every model that comes along, before its first span is stored."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice, product

import structlog

from agent_tracer.server.limits import KNOWN_MODELS_MAX, MODEL_PAIRS_PER_COMMIT_MAX
from agent_tracer.server.ports.loading import StoreLoader
from agent_tracer.server.ports.prices import PriceSource

Scan = Callable[[bytes], tuple[frozenset[str], frozenset[str]]]
"""Names of (models, providers) in the bytes of requests; names too many do no harm, names missed stay unpriced."""

_log = structlog.get_logger("prices")


class PriceBook:
    """Keeps the store's rates ahead of its spans.

    Bounded, for names come from senders: a forgotten model is looked up again, and once KNOWN_MODELS_MAX pairs have
    got rates, further ones stay unpriced until the next start.
    """

    def __init__(self, source: PriceSource, store: StoreLoader, scan: Scan) -> None:
        self._source = source
        self._store = store
        self._scan = scan
        self._known: set[tuple[str, str]] = set()
        self._room = KNOWN_MODELS_MAX

    async def learn(self, payloads: Iterable[bytes]) -> None:
        """Put the rates of new (provider, model) pairs into the store. Raises StoreDownError."""
        joined = b"".join(payloads)
        if not joined or not self._room:
            return
        models, providers = await asyncio.to_thread(self._scan, joined)
        new = list(islice(self._unknown(models, providers), MODEL_PAIRS_PER_COMMIT_MAX))
        if not new:
            return
        priced = await asyncio.to_thread(lambda: [(p, m, self._source.rates(p, m)) for p, m in sorted(new)])
        rows = [row for row in priced if row[2]][: self._room]
        if rows:
            await self._store.add_rates(rows)
            self._count(len(rows))
        if len(self._known) + len(new) > KNOWN_MODELS_MAX:
            self._known.clear()
        self._known.update(new)

    def _unknown(self, models: frozenset[str], providers: frozenset[str]) -> Iterator[tuple[str, str]]:
        """Models without a provider first: they get a price even where there are too many pairs to go through."""
        pairs = chain((("", model) for model in models), product(providers, models))
        return (pair for pair in islice(pairs, 2 * KNOWN_MODELS_MAX) if pair not in self._known)

    def _count(self, rows: int) -> None:
        self._room -= rows
        if not self._room:
            _log.warning("too many names of models; new ones stay unpriced until the next start")
