"""Settings from file, environment and flags, and how their problems are told."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from agent_tracer.server.config import ConfigError, Settings, describe, load_settings

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "config" / "tracer.yaml"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for row in describe():
        monkeypatch.delenv(row.env, raising=False)
    monkeypatch.delenv("NEO4J_PASSWORD", raising=False)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "tracer.yaml"
    path.write_text(text)
    return path


def refused(path: Path | None = None, flags: dict[str, object] | None = None) -> str:
    with pytest.raises(ConfigError) as error:
        load_settings(path, flags)
    return str(error.value)


def test_without_a_file_there_are_no_exporters_and_everything_is_embedded() -> None:
    settings = load_settings()

    assert not any(exporter.enabled for _, exporter in settings.exporters)
    assert settings.correlation.neo4j is None
    assert settings.analytics.qdrant is None
    assert settings.store.url == "chdb://"
    assert settings.tracer.host == "127.0.0.1"


def test_the_example_file_loads_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO4J_PASSWORD", "hunter2")

    settings = load_settings(EXAMPLE)

    assert (settings.tracer.port, settings.tracer.ace_port, settings.tracer.atlas_port) == (3007, 3008, 3009)
    assert settings.exporters.phoenix.enabled
    assert settings.exporters.phoenix.project == "llm-agents"
    assert settings.exporters.jaeger.endpoint == "http://localhost:14268/api/traces"
    assert settings.exporters.tempo.endpoint == "http://localhost:4317"
    assert settings.correlation.neo4j is not None
    assert settings.correlation.neo4j.password == SecretStr("hunter2")
    assert settings.analytics.qdrant is not None
    assert settings.analytics.qdrant.collection == "trace-embeddings"


def test_an_unset_variable_is_an_error_that_names_the_key_and_the_variable() -> None:
    text = refused(EXAMPLE)

    assert "correlation.neo4j.password" in text
    assert "NEO4J_PASSWORD" in text


def test_a_default_stands_in_for_an_unset_or_empty_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, 'tracer: {port: "${A_PORT:-4007}", ace_port: "${B_PORT:-4008}"}')
    monkeypatch.delenv("A_PORT", raising=False)
    monkeypatch.setenv("B_PORT", "")

    settings = load_settings(path)

    assert (settings.tracer.port, settings.tracer.ace_port) == (4007, 4008)


def test_a_set_variable_takes_the_place_of_its_default_within_a_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOENIX_HOST", "phoenix.internal")
    path = written(tmp_path, 'exporters: {phoenix: {endpoint: "http://${PHOENIX_HOST:-localhost}:6006"}}')

    assert load_settings(path).exporters.phoenix.endpoint == "http://phoenix.internal:6006"


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("tracer: {prot: 1}", "tracer.prot", "tracer.port"),
        ("tracr: {port: 1}", "tracr", "tracer"),
        ("metrics: {promethus: {port: 1}}", "metrics.promethus", "metrics.prometheus"),
        ("exporters: {phoenix: {enable: true}}", "exporters.phoenix.enable", "exporters.phoenix.enabled"),
        (
            "correlation: {neo4j: {uri: bolt://h, pasword: x}}",
            "correlation.neo4j.pasword",
            "correlation.neo4j.password",
        ),
    ],
)
def test_an_unknown_key_is_an_error_with_the_nearest_known_one(
    tmp_path: Path, text: str, key: str, nearest: str
) -> None:
    told = refused(written(tmp_path, text))

    assert f"{key}: is no setting; did you mean {nearest}?" in told


def test_the_environment_overrides_the_file_and_flags_override_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, "metrics: {prometheus: {port: 1001}}\ntracer: {port: 1002, ace_port: 1003}")
    monkeypatch.setenv("AGENT_TRACER__METRICS__PROMETHEUS__PORT", "2001")
    monkeypatch.setenv("AGENT_TRACER__TRACER__PORT", "2002")

    settings = load_settings(path, {"tracer.port": 3002, "data_dir": str(tmp_path), "log.level": None})

    assert settings.metrics.prometheus.port == 2001
    assert settings.tracer.port == 3002
    assert settings.tracer.ace_port == 1003
    assert settings.data_dir == tmp_path
    assert settings.log.level == "info"


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("AGENT_TRACER__TRACER__PROT", "AGENT_TRACER__TRACER__PORT"),
        ("AGENT_TRACER__TRACR__PORT", "AGENT_TRACER__TRACER__PORT"),
        ("AGENT_TRACER__METRICS__PORT", "AGENT_TRACER__METRICS__PROMETHEUS__PORT"),
    ],
)
def test_a_variable_that_names_no_setting_is_one_error_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, variable: str, nearest: str
) -> None:
    monkeypatch.setenv(variable, "1")

    with pytest.raises(ConfigError) as error:
        load_settings()

    assert [str(p) for p in error.value.problems] == [f"{variable}: names no setting; did you mean {nearest}?"]


def test_other_programs_variables_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_TRACER_SERVERS", "elsewhere")

    assert load_settings().tracer.port == 3007


def test_headers_come_from_the_environment_too_and_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_TRACER__EXPORTERS__PHOENIX__HEADERS", '{"authorization": "Bearer s3cret"}')

    settings = load_settings()

    assert settings.exporters.phoenix.headers["authorization"].get_secret_value() == "Bearer s3cret"
    assert "s3cret" not in str(settings.to_display())


def test_every_problem_is_told_at_once_and_without_values(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        tracer: {port: s3cret-port, ace_port: 70000, host: not-a-host}
        store: {url: "ftp://user:s3cret@host"}
        correlation: {neo4j: {uri: "bolt://localhost"}}
        metrics: 7
        """,
    )

    told = refused(path)

    for key in (
        "tracer.port",
        "tracer.ace_port",
        "tracer.host",
        "store.url",
        "metrics",
        "correlation.neo4j.password",
    ):
        assert f"  {key}: " in told
    assert "write for example `tracer.port: 3007`" in told
    assert "s3cret" not in told


def test_secrets_and_passwords_in_urls_are_masked_in_what_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEO4J_PASSWORD", "s3cret")
    monkeypatch.setenv("AGENT_TRACER__STORE__URL", "clickhouse://admin:s3cret@db:9000/traces")
    settings = load_settings(EXAMPLE, {"data_dir": tmp_path})

    assert settings.to_display()["store"]["url"] == "clickhouse://***@db:9000/traces"
    assert "s3cret" not in str(settings.to_display())
    assert "s3cret" not in repr(settings)


def test_two_listeners_on_one_port_are_refused() -> None:
    told = refused(flags={"tracer.ace_port": 3007})

    assert "tracer.ace_port: is 3007, which tracer.port has already" in told


def test_a_listener_that_is_off_leaves_its_port_free() -> None:
    settings = load_settings(flags={"metrics.prometheus.enabled": False, "tracer.port": 9090})

    assert settings.tracer.port == 9090


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().tracer.port = 1


def test_an_empty_file_and_an_empty_section_mean_the_defaults(tmp_path: Path) -> None:
    assert load_settings(written(tmp_path, "")) == Settings()
    assert load_settings(written(tmp_path, "exporters:\ntracer:\n  port:\n")) == Settings()


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"tracer: {port: 1", "is no YAML at line"),
        (b"- tracer", "holds no sections"),
        (b"\xff\xfe", "is no UTF-8 text"),
    ],
)
def test_a_file_that_is_no_configuration_is_a_clear_error(tmp_path: Path, content: bytes, wrong: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)

    assert wrong in refused(path)


def test_a_file_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    assert "cannot be read (No such file or directory)" in refused(tmp_path / "none.yaml")


def test_sizes_are_written_with_units(tmp_path: Path) -> None:
    assert load_settings(written(tmp_path, "journal: {max_bytes: 2GiB}")).journal.max_bytes == 2 * 1024**3


def test_localhost_is_the_loopback_address() -> None:
    assert load_settings(flags={"tracer.host": "localhost"}).tracer.host == "127.0.0.1"


def test_an_exporter_on_one_of_our_own_ports_is_found() -> None:
    settings = load_settings(flags={"exporters.tempo.enabled": True})

    assert settings.exporter_at(settings.otlp.grpc_port) == "tempo"
    assert settings.exporter_at(settings.otlp.http_port) is None
    assert load_settings().exporter_at(4317) is None


def test_every_setting_is_described_with_its_variable_and_default() -> None:
    rows = {row.key: row for row in describe()}

    assert all(row.description for row in rows.values())
    assert rows["metrics.prometheus.port"].env == "AGENT_TRACER__METRICS__PROMETHEUS__PORT"
    assert rows["tracer.port"].default == "3007"
    assert rows["correlation.neo4j.password"].default == "(required)"
    assert str(Path.home()) not in rows["data_dir"].default


def test_every_described_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that the environment cannot set would be a wrong line in the docs."""
    for row in describe():
        if row.default.isdigit() and int(row.default) < 60_000:
            monkeypatch.setenv(row.env, str(int(row.default) + 1))

    settings = load_settings()

    for row in describe():
        if row.default.isdigit() and int(row.default) < 60_000:
            value: object = settings
            for part in row.key.split("."):
                value = getattr(value, part)
            assert value == int(row.default) + 1, row.key
