"""What every TelemetryWindow keeps to, over the telemetry of two minutes of a shop."""

import math
import time
from collections.abc import Sequence

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Histogram,
    HistogramDataPoint,
    Metric,
)

from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.settle import ClickHouseSettler
from agent_tracer.server.adapters.clickhouse.telemetry import ClickHouseTelemetry, families, logs
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.rca.view import MetricSeries, Series, Window
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.ports.settling import ReceivedRange
from agent_tracer.server.ports.telemetry_window import SeriesPlan, TelemetryWindow
from tests.fixtures.telemetry_shop import CUMULATIVE, DELTA, MINUTE, START, Shop, counter, gauge, number, resource_of

PLAN = SeriesPlan(Window([START - 2 * MINUTE, START - MINUTE], MINUTE), Window([START, START + MINUTE], MINUTE))


def _values(series: Series) -> list[float | None]:
    """Before and during; None where nothing was observed."""
    return [None if math.isnan(value) else round(value, 3) for value in (*series.before, *series.during)]


def _by_name(series: Sequence[MetricSeries]) -> dict[tuple[str, str], list[float | None]]:
    assert len({(each.component, each.name) for each in series}) == len(series)
    return {(each.component, each.name): _values(each.values) for each in series}


class TelemetryWindowContract:
    """Bind it by deriving a Test class with fixtures `window` and `shop`."""

    async def test_calls_are_nought_only_where_other_services_were_seen(
        self, window: TelemetryWindow, shop: Shop
    ) -> None:
        await shop.spans(("front", 1, 1, 0, 0, 10), ("front", 2, 2, 0, -MINUTE, 10), ("back", 3, 3, 0, 1, 10, 2))

        found = {each.component: each for each in (await window.calls(shop.tenant, PLAN)).services.series}

        assert _values(found["front"].calls) == [None, 1, 1, None]
        assert _values(found["back"].calls) == [None, 0, 1, None]
        assert _values(found["back"].errors) == [None, 0, 1, None]
        assert _values(found["back"].self_ms) == [None, None, 10, None]

    async def test_own_time_leaves_out_children_and_spans_that_wait_for_other_services(
        self, window: TelemetryWindow, shop: Shop
    ) -> None:
        await shop.spans(
            ("front", 1, 1, 0, 0, 100), ("front", 1, 2, 1, 1, 30), ("front", 1, 3, 1, 2, 20),
            ("front", 2, 4, 0, 0, 500), ("back", 2, 5, 4, 1, 80),
        )  # fmt: skip

        found = {each.component: each for each in (await window.calls(shop.tenant, PLAN)).services.series}

        assert _values(found["front"].self_ms)[2] == pytest.approx((50 + 30 + 20) / 3, abs=0.001)
        assert _values(found["back"].self_ms)[2] == 80

    async def test_an_error_is_its_services_own_unless_a_child_failed_too(
        self, window: TelemetryWindow, shop: Shop
    ) -> None:
        await shop.spans(
            ("front", 1, 1, 0, 0, 9, 2),
            ("back", 1, 2, 1, 1, 5, 2),
            ("front", 2, 1, 0, 0, 9, 2),
            ("back", 2, 2, 1, 1, 5),
        )

        found = {each.component: each for each in (await window.calls(shop.tenant, PLAN)).services.series}

        assert _values(found["front"].errors)[2] == 2
        assert _values(found["front"].own_errors)[2] == 1
        assert _values(found["back"].own_errors)[2] == 1

    async def test_a_span_that_was_delivered_twice_counts_once(self, window: TelemetryWindow, shop: Shop) -> None:
        for _ in range(2):
            await shop.spans(("front", 1, 1, 0, 0, 100, 2), ("back", 1, 2, 1, 1, 30))

        calls = await window.calls(shop.tenant, PLAN)
        (edge,) = calls.edges.series
        found = {each.component: each for each in calls.services.series}

        assert _values(edge.calls)[2] == 1
        assert _values(found["front"].calls)[2] == 1
        assert _values(found["front"].own_errors)[2] == 1

    @pytest.mark.parametrize("kind", [1, 2, 5], ids=["internal", "server", "consumer"])
    async def test_what_a_working_span_spends_beside_its_call_is_its_own_time_and_no_gap(
        self, window: TelemetryWindow, shop: Shop, kind: int
    ) -> None:
        await shop.spans(("front", 1, 1, 0, 0, 500), kind=kind)
        await shop.spans(("back", 1, 2, 1, 300, 80), kind=2)

        calls = await window.calls(shop.tenant, PLAN)
        found = {each.component: each for each in calls.services.series}
        (edge,) = calls.edges.series

        assert _values(found["front"].self_ms)[2] == 420
        assert _values(edge.calls)[2] == 1
        assert _values(edge.gap_ms) == [None] * 4

    async def test_gaps_of_clients_are_not_hidden_by_callers_that_have_no_client_span(
        self, window: TelemetryWindow, shop: Shop
    ) -> None:
        await shop.spans(("front", 1, 1, 0, 0, 500), kind=2)
        await shop.spans(("back", 1, 2, 1, 1, 80), ("back", 2, 2, 1, 1, 60))
        await shop.spans(("front", 2, 1, 0, 0, 100), kind=3)

        (edge,) = (await window.calls(shop.tenant, PLAN)).edges.series

        assert _values(edge.calls)[2] == 2
        assert _values(edge.gap_ms)[2] == 40

    @pytest.mark.parametrize("kind", [0, 3, 4], ids=["unspecified", "client", "producer"])
    async def test_edges_have_the_median_time_lost_where_the_callers_span_waits(
        self, window: TelemetryWindow, shop: Shop, kind: int
    ) -> None:
        for trace, lasted in enumerate((50, 90, 60), start=1):
            await shop.spans(("front", trace, 1, 0, 0, 100), kind=kind)
            await shop.spans(("back", trace, 2, 1, 1, lasted, 2))
        await shop.spans(("front", 9, 1, 0, -MINUTE, 100), ("front", 9, 2, 1, -MINUTE, 10))

        (edge,) = (await window.calls(shop.tenant, PLAN)).edges.series

        assert (edge.caller, edge.callee) == ("front", "back")
        assert _values(edge.calls) == [None, 0, 3, None]
        assert _values(edge.errors) == [None, 0, 3, None]
        assert _values(edge.gap_ms) == [None, None, 40, None]

    async def test_windows_need_not_be_contiguous_nor_in_order(self, window: TelemetryWindow, shop: Shop) -> None:
        day = 24 * 60 * MINUTE
        await shop.spans(("front", 1, 1, 0, 0, 1), ("front", 2, 1, 0, -day, 1), ("front", 3, 1, 0, -day // 2, 1))
        plan = SeriesPlan(
            Window([START, START - 2 * day, START - day], MINUTE), Window([START - 3 * MINUTE, START], MINUTE)
        )

        (front,) = (await window.calls(shop.tenant, plan)).services.series

        assert _values(front.calls) == [1, None, 1, None, 1]

    @pytest.mark.parametrize(
        "plan",
        [
            SeriesPlan(Window([START - MINUTE - 1], MINUTE), Window([START], MINUTE)),
            SeriesPlan(Window([START - MINUTE], MINUTE), Window([START], 2 * MINUTE)),
            SeriesPlan(Window([START - MINUTE], MINUTE), Window([], MINUTE)),
        ],
    )
    async def test_buckets_that_do_not_fit_are_refused(
        self, window: TelemetryWindow, shop: Shop, plan: SeriesPlan
    ) -> None:
        with pytest.raises(ValueError, match="bucket"):
            await window.calls(shop.tenant, plan)

    async def test_gauges_are_means_and_counters_are_rates_that_survive_a_reset(
        self, window: TelemetryWindow, shop: Shop
    ) -> None:
        await shop.metrics(
            resource_of("front"),
            gauge("load", number(0, 1.0), number(10, 3.0), number(-MINUTE, 0.0)),
            counter("asked", CUMULATIVE, *(number(m * MINUTE, v) for m, v in ((-2, 60), (-1, 120), (0, 30), (1, 150)))),
            counter("sent", DELTA, number(0, 60), number(1, 60)),
        )

        found = _by_name((await window.metrics(shop.tenant, PLAN)).series)

        assert found == {
            ("front", "load"): [None, 0, 2, None],
            ("front", "asked"): [None, 1, 0.5, 2],
            ("front", "sent"): [None, None, 2, None],
        }

    async def test_a_counter_is_not_differenced_over_a_gap(self, window: TelemetryWindow, shop: Shop) -> None:
        day = 24 * 60 * MINUTE
        points = [number(at, value) for at, value in ((-day, 0), (0, 1000), (30_000_000_000, 1060))]
        await shop.metrics(resource_of("front"), counter("asked", CUMULATIVE, *points))
        plan = SeriesPlan(Window([START - day], MINUTE), Window([START], MINUTE))

        assert _by_name((await window.metrics(shop.tenant, plan)).series) == {("front", "asked"): [None, 2]}

    @pytest.mark.parametrize("temporality", [CUMULATIVE, DELTA])
    async def test_histograms_are_mean_rate_and_p95(
        self, window: TelemetryWindow, shop: Shop, temporality: int
    ) -> None:
        def point(minute: int, counts: list[int], total: float) -> HistogramDataPoint:
            return HistogramDataPoint(
                time_unix_nano=START + minute * MINUTE,
                count=sum(counts),
                sum=total,
                explicit_bounds=[10, 20, 40],
                bucket_counts=counts,
            )

        added = [point(0, [90, 0, 30, 0], 1200)]
        if temporality == CUMULATIVE:
            added = [point(-1, [1000, 7, 1, 1], 5000), point(0, [1090, 7, 31, 1], 6200)]
        histogram = Histogram(data_points=added, aggregation_temporality=temporality)  # type: ignore[arg-type]
        await shop.metrics(resource_of("front"), Metric(name="took", histogram=histogram))

        found = _by_name((await window.metrics(shop.tenant, PLAN)).series)

        assert found["front", "took"][2] == 10
        assert found["front", "took.rate"][2] == 2
        assert found["front", "took.p95"][2] == 36

    @pytest.mark.parametrize("temporality", [CUMULATIVE, DELTA])
    async def test_exponential_histograms_have_a_p95_though_their_scale_shrinks(
        self, window: TelemetryWindow, shop: Shop, temporality: int
    ) -> None:
        def point(minute: int, scale: int, value: float, count: int) -> ExponentialHistogramDataPoint:
            found = ExponentialHistogramDataPoint(
                time_unix_nano=START + minute * MINUTE, count=count, sum=count * value, scale=scale
            )
            found.positive.offset = math.ceil(math.log2(value) * 2**scale) - 1
            found.positive.bucket_counts.append(count)
            return found

        added = [point(0, 3, 100.0, 50)]
        if temporality == CUMULATIVE:
            added = [point(-1, 5, 100.0, 70), point(0, 3, 100.0, 120)]
        histogram = ExponentialHistogram(data_points=added, aggregation_temporality=temporality)  # type: ignore[arg-type]
        await shop.metrics(resource_of("front"), Metric(name="took", exponential_histogram=histogram))

        found = _by_name((await window.metrics(shop.tenant, PLAN)).series)

        assert found["front", "took.p95"][2] == pytest.approx(100, rel=0.2)
        assert found["front", "took"][2] == 100

    async def test_series_of_one_metric_are_named_by_what_tells_them_apart(
        self, window: TelemetryWindow, shop: Shop
    ) -> None:
        for pod in ("a", "b"):
            points = [number(m, 1.0, route=route, method="GET") for m in (-MINUTE, 0) for route in ("/x", "/y")]
            await shop.metrics(
                resource_of("front", k8s__pod__name=pod, k8s__node__name=f"n-{pod}"), gauge("load", *points)
            )
        await shop.metrics(resource_of("back"), gauge("load", number(0, 1.0, route="/x")))

        found = _by_name((await window.metrics(shop.tenant, PLAN)).series)

        assert set(found) == {
            ("back", "load"),
            *(("front", f"load{{route=/{r},k8s.pod.name={pod}}}") for r in "xy" for pod in "ab"),
        }

    async def test_instances_that_were_all_replaced_are_one_series(self, window: TelemetryWindow, shop: Shop) -> None:
        for pod, at in (("a", -MINUTE), ("b", -MINUTE), ("c", 0)):
            await shop.metrics(resource_of("front", k8s__pod__name=pod), gauge("load", number(at, 4.0)))

        assert _by_name((await window.metrics(shop.tenant, PLAN)).series) == {("front", "load"): [None, 4, 4, None]}

    async def test_a_metric_without_a_service_is_its_workloads(self, window: TelemetryWindow, shop: Shop) -> None:
        await shop.metrics(
            resource_of("", k8s__deployment__name="cart", k8s__pod__name="cart-1"), gauge("cpu", number(0, 1.0))
        )
        await shop.metrics(resource_of("unknown_service:java", host__name="node-3"), gauge("cpu", number(0, 1.0)))

        assert set(_by_name((await window.metrics(shop.tenant, PLAN)).series)) == {("cart", "cpu"), ("node-3", "cpu")}

    async def test_log_lines_that_differ_in_ids_and_numbers_are_one_template(
        self, window: TelemetryWindow, shop: Shop
    ) -> None:
        for at, text in ((0, "user 17 paid 3.50 in 9f8e7d6c5b4a3928"), (1, "user 18 paid 4 in 0011223344556677")):
            await shop.log("front", at, text, severity_number=9)
        await shop.log("front", -MINUTE, "disk of db-1 is full", severity_text="Error")

        found = {each.template: each for each in (await window.logs(shop.tenant, PLAN)).series}

        assert {each.severity for each in found.values()} == {9, 17}
        assert _values(found["user <*> paid <*> in <*>"].counts) == [None, 0, 2, None]
        assert _values(found["disk of db-<*> is full"].counts) == [None, 1, 0, None]

    async def test_a_structured_record_says_its_message_and_its_error(
        self, window: TelemetryWindow, shop: Shop
    ) -> None:
        await shop.log("front", 0, {"msg": "charge failed", "error": "x509: certificate has expired", "n": 4})
        await shop.log("back", 0, '{"msg": "charge failed", "n": 5}', attributes={"exception.type": "TimeoutError"})

        found = {each.component: each.template for each in (await window.logs(shop.tenant, PLAN)).series}

        assert found["front"].startswith("charge failed x509: certificate has expired")
        assert found["back"] == "charge failed TimeoutError"

    async def test_a_commit_and_its_deploys_are_one_change_and_no_log(
        self, window: TelemetryWindow, shop: Shop
    ) -> None:
        revision = "420eddd12dbf0a2a11f602923075266af9debef3"
        commit = {"vcs.ref.head.revision": revision, "vcs.change.title": "fix: guard"}
        await shop.log("", -MINUTE, "@@ -1 +1 @@\n-a\n+b", event_name="vcs.commit", attributes=commit)
        for at, service in ((0, "front"), (5, "back")):
            deploy = {"vcs.ref.head.revision": revision[:12], "service.name": service, "deployment.status": "succeeded"}
            await shop.log("ci", at, "deployed", event_name="deployment", attributes=deploy)

        (change,) = await window.changes(shop.tenant, TimeRange(START - 2 * MINUTE, START + MINUTE))

        assert (change.change_id, change.kind, change.time_ns) == (revision, "deploy", START)
        assert change.components == ["back", "front"]
        assert change.text == "fix: guard"
        assert change.diff == "@@ -1 +1 @@\n-a\n+b"
        assert list((await window.logs(shop.tenant, PLAN)).series) == []

    async def test_a_flag_is_a_change_when_its_value_is_a_new_one(self, window: TelemetryWindow, shop: Shop) -> None:
        for at, variant in ((-MINUTE, "off"), (-MINUTE + 1, "off"), (0, "on"), (1, "on"), (2, "on")):
            told = {"feature_flag.key": "fast-path", "feature_flag.result.variant": variant}
            await shop.log("front", at, "", event_name="feature_flag.evaluation", attributes=told)

        (change,) = await window.changes(shop.tenant, TimeRange(START - 2 * MINUTE, START + MINUTE))

        assert (change.change_id, change.kind, change.time_ns, change.components) == (
            "fast-path", "flag", START, ["front"],
        )  # fmt: skip
        assert "on" in change.text

    async def test_changes_end_with_the_range(self, window: TelemetryWindow, shop: Shop) -> None:
        for at in (-5 * MINUTE, 0, MINUTE):
            await shop.log("front", at, {"service": "front", "version": f"v{at}"}, event_name="deploy")

        found = await window.changes(shop.tenant, TimeRange(START - MINUTE, START + MINUTE))

        assert [change.time_ns for change in found] == [START]

    async def test_observed_tells_the_buckets_of_each_signal(self, window: TelemetryWindow, shop: Shop) -> None:
        await shop.spans(("front", 1, 1, 0, MINUTE, 1))
        await shop.log("front", 0, "hello")

        found = await window.observed(shop.tenant, TimeRange(START, START + 2 * MINUTE), MINUTE)

        assert (found.spans, found.logs, found.metrics) == ([START + MINUTE], [START], [])

    async def test_nothing_gives_nothing(self, window: TelemetryWindow, shop: Shop) -> None:
        calls = await window.calls(shop.tenant, PLAN)
        others = [await read(shop.tenant, PLAN) for read in (window.metrics, window.logs)]
        assert [list(found.series) for found in (calls.services, calls.edges, *others)] == [[]] * 4
        assert list(await window.changes(shop.tenant, TimeRange(START, START + 1))) == []


class TestClickHouseTelemetry(TelemetryWindowContract):
    @pytest.fixture
    def window(self, engine: Engine) -> TelemetryWindow:
        return ClickHouseTelemetry(engine)

    @pytest.fixture
    def shop(self, engine: Engine, tenant: TenantId) -> Shop:
        return Shop(engine, tenant)

    @pytest.fixture
    def sampling(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Very few spans are many."""
        monkeypatch.setattr(families, "TELEMETRY_SAMPLE_SPANS_MAX", 20)

    @pytest.mark.usefixtures("sampling")
    async def test_of_many_spans_calls_and_errors_stay_exact_and_the_answer_says_what_is_not(
        self, engine: Engine, window: TelemetryWindow, shop: Shop
    ) -> None:
        before_ns = time.time_ns()
        await shop.spans(*(("front", trace, 1, 0, 0, 100, 2) for trace in range(1, 41)))
        await shop.spans(*(("back", trace, 2, 1, 1, 60, 2) for trace in range(1, 41)))
        await ClickHouseSettler(engine).settle(ReceivedRange(before_ns, time.time_ns()))

        calls = await window.calls(shop.tenant, PLAN)
        services, edges = calls.services, calls.edges

        found = {each.component: each for each in services.series}
        assert _values(found["front"].calls)[2] == 40
        assert _values(found["front"].errors)[2] == 40
        assert _values(found["front"].own_errors)[2] == 0
        assert _values(found["back"].own_errors)[2] == 40
        assert sum(value or 0 for value in _values(edges.series[0].calls)) == 40
        assert _values(found["back"].self_ms)[2] == 60
        assert 40 in _values(edges.series[0].gap_ms)
        assert "one in 4 traces of the 80 spans" in services.caveats[0]
        assert "one in 4 traces" in edges.caveats[0]

    async def test_of_many_log_records_each_of_a_sample_stands_for_several(
        self, window: TelemetryWindow, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(logs, "TELEMETRY_SAMPLE_LOGS_MAX", 10)
        kinds = (("asked", {"severity_number": 9}), ("refused", {"severity_number": 17}))
        await shop.logs("front", *((at, *kinds[at % 2]) for at in range(40)))

        found = await window.logs(shop.tenant, PLAN)

        counts = {each.template: _values(each.counts)[2] for each in found.series}
        assert counts["refused"] == 20
        assert (counts.get("asked") or 0) % 4 == 0
        assert "one in 4" in found.caveats[0]
