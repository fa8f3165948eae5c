"""Prices from the genai-prices package's own data, which is dated, tiered and offline."""

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time
from decimal import Decimal, localcontext
from itertools import pairwise, product
from typing import Final

from genai_prices.data_snapshot import DataSnapshot, get_snapshot
from genai_prices.types import (
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
    Usage,
)

from agent_tracer.server.domain.pricing import DAY_SECONDS, Rate
from agent_tracer.server.limits import MODEL_NAME_BYTES_MAX

Constraint = StartDateConstraint | TimeOfDateConstraint | None

_PROVIDER_IDS: Final = {
    "amazon_bedrock": "aws", "aws.bedrock": "aws", "aws_bedrock": "aws",
    "az.ai.inference": "azure", "az.ai.openai": "azure", "azure.ai.inference": "azure",
    "azure.ai.openai": "azure", "azure-openai": "azure", "azure_ai": "azure", "azure_openai": "azure",
    "azureopenai": "azure",
    "deep_seek": "deepseek",
    "fireworks_ai": "fireworks", "fireworks-ai": "fireworks", "fireworksai": "fireworks",
    "gcp.gemini": "google", "gcp.gen_ai": "google", "gcp.vertex_ai": "google", "gemini": "google",
    "vertex_ai": "google", "vertexai": "google",
    "litellm": "litellm", "litellm_proxy": "litellm",
    "mistral_ai": "mistral", "mistralai": "mistral",
    "moonshot_ai": "moonshotai",
    "perplexity-ai": "perplexity", "perplexity_ai": "perplexity", "perplexityai": "perplexity",
    "together-ai": "together", "together_ai": "together", "togetherai": "together",
    "x.ai": "x-ai", "x_ai": "x-ai", "xai": "x-ai",
    "z.ai": "zai", "z_ai": "zai",
}  # fmt: skip
"""Names in telemetry, in lower case, to genai-prices' ids. Names beside these go through its own matching.

Sources: well-known values of gen_ai.provider.name and of gen_ai.system before it (OpenTelemetry GenAI
semantic conventions), llm.provider and llm.system (OpenInference), and the names of LiteLLM, LangChain and
the Vercel AI SDK.
"""

_WITHOUT_PRICES: Final = frozenset(
    ("hosted_vllm", "ibm.watsonx.ai", "llama-cpp", "llama.cpp", "llama_cpp", "llamacpp", "lm_studio",
     "lmstudio", "localai", "ollama", "sglang", "tgi", "vllm", "watsonx", "xinference")
)  # fmt: skip
"""Providers that serve models of others and are not in the list: by the model's name alone, a call on the
caller's own machine would get its maker's price."""

_GOOGLE_MODEL_PATH: Final = re.compile(r"^(projects/.+/)?(publishers/[^/]+/)?models/")
"""What Google's SDKs may write before a model's name."""

_PRICED_BY: Final = ("input_mtok", "output_mtok", "requests_kcount")
"""A model that has none of these is priced by the second or the page, or not known to be free."""

_UNIX_EPOCH: Final = date(1970, 1, 1)
_EXACT_DIGITS: Final = 60
"""Decimal places that keep differences of probes exact: prices have some 10 digits, token counts 7."""


class GenaiPrices:
    """The PriceSource over genai-prices.

    Building it takes about a second: the package loads its data then.
    """

    def __init__(self, snapshot: DataSnapshot | None = None) -> None:
        """Take the data that came with the package, or another snapshot."""
        self._providers = (snapshot or get_snapshot()).providers

    def rates(self, provider: str, model: str) -> tuple[Rate, ...]:
        """See PriceSource."""
        name, model = provider.strip().lower(), model.strip()
        names = (name, name.partition(".")[0])
        if not model or max(len(name), len(model)) > MODEL_NAME_BYTES_MAX or _WITHOUT_PRICES.intersection(names):
            return ()
        # A snapshot of its own each time: the shared one remembers every text it was ever asked for.
        snapshot = DataSnapshot(providers=self._providers, from_auto_update=False)
        found = _find_model(snapshot, _find_provider_id(snapshot, names), model)
        return _model_rates(*found) if found else ()


def _find_provider_id(snapshot: DataSnapshot, names: Sequence[str]) -> str | None:
    """genai-prices' id by the first of a provider's names that has one; None to go by the model alone."""
    mapped = next((_PROVIDER_IDS[name] for name in names if name in _PROVIDER_IDS), None)
    if mapped is not None:
        return mapped
    for name in names:
        with suppress(LookupError):
            return snapshot.find_provider(None, name, None).id
    return None


def _find_model(snapshot: DataSnapshot, provider_id: str | None, model: str) -> tuple[Provider, ModelInfo] | None:
    for name in dict.fromkeys((model, _GOOGLE_MODEL_PATH.sub("", model, count=1))):
        with suppress(LookupError):
            return snapshot.find_provider_model(name, None, provider_id, None)
    return None


def _model_rates(provider: Provider, model: ModelInfo) -> tuple[Rate, ...]:
    """The rates of each period, time of day and tier.

    Empty if one of them has no price: the rate before it would match in its place.
    """
    rates: list[Rate] = []
    constraints = [price.constraint for price in model.prices] if isinstance(model.prices, list) else []
    for valid_from, (day_start, day_end) in product(_period_starts(constraints), _day_windows(constraints)):
        at = datetime.fromtimestamp(valid_from + day_start, UTC)
        prices = model.get_prices(at)
        if all(getattr(prices, key) is None for key in _PRICED_BY):
            return ()

        def cost(usage: Usage, at: datetime = at) -> Decimal:
            return model.calc_price(usage, provider, genai_request_timestamp=at).total_price

        for min_input_tokens in _tier_starts(prices):
            window = (valid_from, day_start, day_end, min_input_tokens)
            rates.append(Rate(*window, *_dollars(cost, min_input_tokens)))
    return tuple(rates)


def _period_starts(constraints: Iterable[Constraint]) -> list[int]:
    """Unix seconds at which prices may change, ascending, 0 first."""
    dates = {c.start_date for c in constraints if isinstance(c, StartDateConstraint)}
    return sorted({0, *(max(0, (day - _UNIX_EPOCH).days) * DAY_SECONDS for day in dates)})


def _day_windows(constraints: Iterable[Constraint]) -> list[tuple[int, int]]:
    """The day in UTC, cut where prices may change."""
    hours = [c for c in constraints if isinstance(c, TimeOfDateConstraint)]
    cuts = {_second_of_day(edge) for window in hours for edge in (window.start_time, window.end_time)}
    return list(pairwise(sorted({0, DAY_SECONDS, *cuts})))


def _second_of_day(edge: time) -> int:
    """In UTC, as which genai-prices takes a time without zone."""
    utc = datetime.combine(_UNIX_EPOCH, edge, edge.tzinfo or UTC).astimezone(UTC)
    return utc.hour * 3600 + utc.minute * 60 + utc.second


def _tier_starts(prices: ModelPrice) -> list[int]:
    """The least input tokens of each tier of any price, ascending, 0 first; a tier is above its start."""
    tiered = [price for price in vars(prices).values() if isinstance(price, TieredPrices)]
    return sorted({0, *(tier.start + 1 for price in tiered for tier in price.tiers)})


def _dollars(cost: Callable[[Usage], Decimal], min_input_tokens: int) -> tuple[float, ...]:
    """Dollars per token of each kind and per request, in the order of Rate's fields.

    Differences of what probes cost, so that the list's own way of splitting usage decides. Half a
    token less is a probe of the same tier even where the tier is one token wide.
    """
    tokens = max(1, min_input_tokens)
    with localcontext(prec=_EXACT_DIGITS):
        base = cost(Usage(input_tokens=tokens))
        input_rate = 2 * (base - cost(Usage(input_tokens=tokens - Decimal("0.5"))))
        rates = (
            input_rate,
            cost(Usage(input_tokens=tokens, cache_read_tokens=1)) - base + input_rate,
            cost(Usage(input_tokens=tokens, cache_write_tokens=1)) - base + input_rate,
            cost(Usage(input_tokens=tokens, output_tokens=1)) - base,
            cost(Usage(input_tokens=tokens, output_tokens=1, output_reasoning_tokens=1)) - base,
            base - input_rate * tokens,
        )
    return tuple(float(rate) for rate in rates)
