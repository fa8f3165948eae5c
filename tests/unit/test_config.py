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


SELF = "is this server itself"


@pytest.mark.parametrize(
    ("endpoint", "listener"),
    [
        ("http://localhost:3007", "tracer.port"),
        ("http://127.0.0.1:3008/v1/traces", "tracer.ace_port"),
        ("http://localhost:3009", "tracer.atlas_port"),
        ("http://localhost:50051", "tracer.grpc_port"),
        ("http://user:s3cret@localhost:9090", "metrics.prometheus.port"),
        ("http://0.0.0.0:3007", "tracer.port"),
        ("http://[::ffff:127.0.0.1]:3007", "tracer.port"),
    ],
)
def test_an_exporter_that_names_this_server_is_refused_with_its_key(endpoint: str, listener: str) -> None:
    told = refused(flags={"exporters.tempo.enabled": True, "exporters.tempo.endpoint": endpoint})

    assert f"exporters.tempo.endpoint: {SELF} ({listener})" in told
    assert "s3cret" not in told


def test_an_otlp_port_that_was_asked_for_is_not_left_to_an_exporter_but_a_usual_one_is() -> None:
    asked = {"exporters.tempo.enabled": True, "exporters.tempo.endpoint": "http://localhost:14317"}

    assert f"exporters.tempo.endpoint: {SELF} (otlp.grpc_port)" in refused(flags={**asked, "otlp.grpc_port": 14317})
    usual = load_settings(flags={"exporters.tempo.enabled": True})
    assert dict(usual.own_ports()).get("otlp.grpc_port") is None
    assert dict(usual.own_ports())["otlp.http_port"] == 4318


def test_every_address_is_its_own_where_the_server_is_bound_to_all() -> None:
    flags = {"exporters.tempo.enabled": True, "exporters.tempo.endpoint": "http://127.0.0.1:3007"}

    assert SELF in refused(flags={**flags, "tracer.host": "0.0.0.0"})  # noqa: S104 - no port is opened
    assert load_settings(flags={**flags, "tracer.host": "10.0.0.7"}).tracer.host == "10.0.0.7"
    local = {**flags, "exporters.tempo.endpoint": "http://localhost:3007"}
    assert load_settings(flags={**local, "tracer.host": "10.0.0.7"}).tracer.host == "10.0.0.7"
    assert SELF in refused(
        flags={
            "exporters.tempo.enabled": True,
            "exporters.tempo.endpoint": "http://10.0.0.7:3007",
            "tracer.host": "10.0.0.7",
        }
    )


def test_an_exporter_that_is_off_may_name_anything() -> None:
    assert load_settings(flags={"exporters.tempo.endpoint": "http://localhost:3007"})


def test_further_otlp_backends_have_names_signals_and_everything_that_the_others_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_TRACER__EXPORTERS__OTLP__BACKUP__TIMEOUT_SECONDS", "3")
    path = written(
        tmp_path,
        """
        exporters:
          loki: {enabled: true}
          otlp:
            backup: {endpoint: "https://collector.example:4317", signals: [traces, logs, metrics], protocol: grpc}
            plain: {endpoint: "http://collector.example:4318", headers: {x-key: s3cret}, compression: none}
            unused: {endpoint: "http://collector.example:4318", enabled: false}
        """,
    )

    settings = load_settings(path)

    enabled = settings.exporters.enabled()
    assert list(enabled) == ["loki", "otlp.backup", "otlp.plain"]
    assert {name: sorted(exporter.sends) for name, exporter in enabled.items()} == {
        "loki": ["logs"],
        "otlp.backup": ["logs", "metrics", "traces"],
        "otlp.plain": ["traces"],
    }
    assert enabled["otlp.backup"].timeout_seconds == 3
    assert "s3cret" not in str(settings.to_display())


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("{backup: {}}", "exporters.otlp.backup.endpoint: is missing"),
        ("{backup: {endpoint: 'http://h', signals: [spans]}}", "exporters.otlp.backup.signals.0"),
        ("{backup: {endpoint: 'http://h', signals: []}}", "exporters.otlp.backup.signals"),
        ("{'Not A Name': {endpoint: 'http://h'}}", "exporters.otlp.Not A Name"),
        ("{backup: {endpoint: 'ftp://h'}}", "exporters.otlp.backup.endpoint: is no URL"),
        ("{backup: {endpoint: 'https://h', tls: {key_file: key.pem}}}", "exporters.otlp.backup.tls"),
        ("{backup: {endpoint: 'http://h', timeout_seconds: 0}}", "exporters.otlp.backup.timeout_seconds"),
    ],
)
def test_what_is_wrong_with_a_further_backend_is_told_by_its_key(tmp_path: Path, text: str, key: str) -> None:
    assert key in refused(written(tmp_path, f"exporters: {{otlp: {text}}}"))
