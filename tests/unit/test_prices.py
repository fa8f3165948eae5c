"""The rates price a call as genai-prices itself does, and price nothing that it does not know."""

import random
import socket
from datetime import UTC, date, datetime, time
from decimal import Decimal

import pytest
from genai_prices import Usage
from genai_prices.data_snapshot import DataSnapshot, get_snapshot
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)
from hypothesis import given
from hypothesis import strategies as st

from agent_tracer.server.adapters.prices import GenaiPrices
from agent_tracer.server.domain.pricing import DAY_SECONDS, Call, Rate, price
from agent_tracer.server.ports.prices import PriceSource

PRICES: PriceSource = GenaiPrices()

# (provider and model as telemetry names them, the provider in genai-prices)
MODELS = (
    ("openai", "gpt-4o", "openai"),
    ("OpenAI", "gpt-4o-2024-08-06", "openai"),
    ("openai.responses", "gpt-4o-mini", "openai"),
    ("openai", "gpt-4.1", "openai"),
    ("openai", "gpt-5", "openai"),
    ("openai", "gpt-5.2-20251211", "openai"),
    ("openai", "gpt-5.4", "openai"),
    ("openai", "o3", "openai"),
    ("openai", "o4-mini", "openai"),
    ("openai", "text-embedding-3-small", "openai"),
    ("openai", "text-embedding-ada-002", "openai"),
    ("openai", "ft:gpt-4o-mini-2024-07-18:org::abc", "openai"),
    ("anthropic", "claude-sonnet-4-5", "anthropic"),
    ("anthropic", "claude-sonnet-4-5-20250929", "anthropic"),
    ("anthropic", "claude-haiku-4-5", "anthropic"),
    ("anthropic.messages", "claude-opus-4-6", "anthropic"),
    ("anthropic", "claude-3-5-haiku-latest", "anthropic"),
    ("aws.bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0", "aws"),
    ("amazon-bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "aws"),
    ("aws", "amazon.nova-pro-v1:0", "aws"),
    ("azure.ai.openai", "gpt-4o", "azure"),
    ("az.ai.openai", "gpt-4.1", "azure"),
    ("azure-openai.chat", "gpt-4o-mini", "azure"),
    ("azure", "gpt-5", "azure"),
    ("gcp.gemini", "gemini-2.5-pro", "google"),
    ("gcp.vertex_ai", "gemini-2.5-flash", "google"),
    ("gcp.gen_ai", "gemini-2.0-flash", "google"),
    ("vertexai", "claude-sonnet-4-5@20250929", "google"),
    ("google.generative-ai", "gemini-1.5-pro", "google"),
    ("x_ai", "grok-4", "x-ai"),
    ("xai", "grok-3", "x-ai"),
    ("mistral_ai", "mistral-large-latest", "mistral"),
    ("mistralai", "mistral-small-latest", "mistral"),
    ("mistral.chat", "codestral-latest", "mistral"),
    ("deepseek", "deepseek-chat", "deepseek"),
    ("deepseek", "deepseek-reasoner", "deepseek"),
    ("deepseek", "deepseek-v4-flash", "deepseek"),
    ("groq", "llama-3.3-70b-versatile", "groq"),
    ("groq.chat", "llama-3.1-8b-instant", "groq"),
    ("perplexity", "sonar-pro", "perplexity"),
    ("perplexity", "sonar-deep-research", "perplexity"),
    ("cohere", "command-r-plus", "cohere"),
    ("together_ai", "meta-llama/Llama-3.3-70B-Instruct-Turbo", "together"),
    ("litellm", "openai/gpt-4o", "litellm"),
    ("openrouter", "openai/gpt-4o", "openrouter"),
    ("", "gpt-4o", None),
    ("", "claude-sonnet-4-5", None),
    ("my-gateway", "gemini-2.5-pro", None),
)
DATES = ("2023-06-01", "2024-12-31", "2025-02-08", "2025-09-05", "2026-08-17", "2026-09-10", "2027-01-01")


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def random_call(rng: random.Random, start_seconds: int) -> Call:
    input_tokens, output_tokens = rng.randrange(rng.choice((100, 300_000))), rng.randrange(20_000)
    cache_read_tokens = rng.randint(0, input_tokens)
    return Call(
        start_seconds=start_seconds,
        input_tokens=input_tokens,
        cache_read_tokens=cache_read_tokens,
        cache_write_tokens=rng.randint(0, input_tokens - cache_read_tokens),
        output_tokens=output_tokens,
        reasoning_tokens=rng.randint(0, output_tokens),
    )


def listed_cost(snapshot: DataSnapshot, provider_id: str | None, model: str, call: Call) -> float:
    usage = Usage(
        input_tokens=call.input_tokens,
        cache_read_tokens=call.cache_read_tokens,
        cache_write_tokens=call.cache_write_tokens,
        output_tokens=call.output_tokens,
        output_reasoning_tokens=call.reasoning_tokens,
    )
    at = datetime.fromtimestamp(call.start_seconds, UTC)
    return float(snapshot.calc(usage, model, provider_id, None, at).total_price)


def edge_calls(rates: tuple[Rate, ...], rng: random.Random) -> list[Call]:
    """Calls on either side of each change of price."""
    times = {
        max(0, rate.valid_from_seconds + day + step) for rate in rates
        for day in (0, rate.day_start_seconds, rate.day_end_seconds) for step in (-1, 0)
    }  # fmt: skip
    calls = [random_call(rng, start) for start in sorted(times)]
    for tier in sorted({rate.min_input_tokens for rate in rates} - {0}):
        calls += [Call(start, tier + step, 7, 5, 9, 3) for start in sorted(times) for step in (-1, 0)]
    return calls


@pytest.mark.parametrize(("provider", "model", "provider_id"), MODELS)
def test_calls_cost_what_the_price_list_says(provider: str, model: str, provider_id: str | None) -> None:
    rates = PRICES.rates(provider, model)
    rng = random.Random(f"{provider}/{model}")
    starts = [seconds(day) + rng.randrange(DAY_SECONDS) for day in DATES for _ in range(6)]
    assert rates
    for call in [random_call(rng, start) for start in starts] + edge_calls(rates, rng):
        expected = listed_cost(get_snapshot(), provider_id, model, call)
        assert price(rates, call) == pytest.approx(expected, rel=1e-12, abs=0), call


def test_every_dated_or_tiered_model_costs_the_same_at_every_change_of_price() -> None:
    rng = random.Random(0)
    seen = 0
    for provider in get_snapshot().providers:
        for model in provider.models:
            varies = isinstance(model.prices, list) or any(
                isinstance(value, TieredPrices) for value in vars(model.prices).values()
            )
            rates = PRICES.rates(provider.id, model.id) if varies else ()
            for call in edge_calls(rates, rng):
                expected = listed_cost(get_snapshot(), provider.id, model.id, call)
                assert price(rates, call) == pytest.approx(expected, rel=1e-12, abs=0), (model.id, call)
            seen += bool(rates)
    assert seen > 100


def listing(*prices: ConditionalPrice) -> DataSnapshot:
    model = ModelInfo(id="m", match=ClauseEquals("m"), prices=list(prices))
    return DataSnapshot([Provider("p", "p", "p", models=[model])], from_auto_update=False)


def test_windows_over_midnight_one_token_tiers_and_overlaps_follow_the_list() -> None:
    tiers = [Tier(1000, Decimal(7)), Tier(1001, Decimal(11))]
    snapshot = listing(
        ConditionalPrice(
            StartDateConstraint(date(2024, 1, 1)),
            prices=ModelPrice(input_mtok=Decimal(2), output_mtok=Decimal(3)),
        ),
        ConditionalPrice(
            TimeOfDateConstraint(time(22, 15), time(3, 30)),
            prices=ModelPrice(
                input_mtok=TieredPrices(Decimal(5), tiers),
                cache_read_mtok=TieredPrices(Decimal(1), [Tier(500, Decimal("0.5"))]),
                output_mtok=Decimal("0.1"),
                output_reasoning_mtok=Decimal("0.3"),
                requests_kcount=Decimal(4),
            ),
        ),
        ConditionalPrice(StartDateConstraint(date(2025, 1, 1)), prices=ModelPrice(output_mtok=Decimal(9))),
    )
    rates = GenaiPrices(snapshot).rates("p", "m")
    rng = random.Random(1)
    calls = edge_calls(rates, rng) + [
        random_call(rng, seconds(day) + rng.randrange(DAY_SECONDS)) for day in DATES for _ in range(20)
    ]
    assert {rate.min_input_tokens for rate in rates} == {0, 501, 1001, 1002}
    for call in calls:
        assert price(rates, call) == pytest.approx(listed_cost(snapshot, "p", "m", call), rel=1e-12, abs=0)


def test_a_period_without_prices_leaves_the_model_unpriced_instead_of_priced_by_the_period_before() -> None:
    snapshot = listing(
        ConditionalPrice(prices=ModelPrice(input_mtok=Decimal(1))),
        ConditionalPrice(StartDateConstraint(date(2025, 1, 1)), prices=ModelPrice()),
    )
    assert GenaiPrices(snapshot).rates("p", "m") == ()


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "no-such-model"),
        ("openai", ""),
        ("", ""),
        ("", "no-such-model"),
        ("anthropic", "gpt-4o"),
        ("nobody", "llama3.1:8b"),
        ("ollama", "deepseek-r1"),
        ("ollama.chat", "deepseek-r1"),
        ("vllm", "gpt-4o"),
        ("openai", "whisper-1"),
        ("github-copilot", "gpt-4o"),
        ("openai", "gpt-4o" + "x" * 200),
    ],
)
def test_what_the_list_cannot_price_by_tokens_is_unpriced_not_free(provider: str, model: str) -> None:
    assert PRICES.rates(provider, model) == ()
    assert price((), Call(0, 1, 0, 0, 1, 0)) is None


@pytest.mark.parametrize(
    "model",
    ["models/gemini-2.5-pro", "publishers/google/models/gemini-2.5-pro",
     "projects/p/locations/europe-west1/publishers/google/models/gemini-2.5-pro"],
)  # fmt: skip
def test_google_model_paths_are_priced_as_the_model_they_name(model: str) -> None:
    assert PRICES.rates("gcp.vertex_ai", model) == PRICES.rates("gcp.vertex_ai", "gemini-2.5-pro") != ()


@given(st.text(max_size=200), st.text(max_size=200))
def test_no_text_makes_the_lookup_fail(provider: str, model: str) -> None:
    assert PRICES.rates(provider, model) == PRICES.rates(provider, model)


COUNTS = st.integers(0, 2**32 - 1)


@given(st.builds(Call, st.integers(0, 2**32), COUNTS, COUNTS, COUNTS, COUNTS, COUNTS))
def test_parts_larger_than_their_whole_never_make_the_cost_negative(call: Call) -> None:
    for provider, model in (("anthropic", "claude-sonnet-4-5"), ("perplexity", "sonar-deep-research")):
        cost = price(PRICES.rates(provider, model), call)
        assert cost is not None
        assert cost >= 0


def test_prices_need_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        message = "a price lookup opened a socket"
        raise AssertionError(message)

    monkeypatch.setattr(socket, "socket", refuse)
    assert GenaiPrices().rates("openai", "gpt-4o")
