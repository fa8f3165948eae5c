"""Addresses in the settings: what is shown of them, and which port they stand for."""

import pytest

from agent_tracer.server.config import ConfigError, load_settings


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://me:s3cr@t2@h:4318/a", "http://***@h:4318/a"),
        ("http://me:s3 cr@t2 w0rd@h:4318", "http://***@h:4318"),
        ("http://s3cret@h", "http://***@h"),
        ("http://t:4318/a?api-key=s3cret&x=s3cret#f", "http://t:4318/a?***"),
        ("http://h/a?s3cret", "http://h/a?***"),
        ("http://h?a=b;key=s3cret", "http://h?***"),
        ("http://h?s3cret==", "http://h?***"),
        ("http://h/a?key=s3#cret", "http://h/a?***"),
        ("http://me:s3@cret@h/a?mail=me@x.example", "http://***@h/a?***"),
        ("http://h/a/@b", "http://h/a/@b"),
        ("http://h:4317", "http://h:4317"),
    ],
)
def test_no_user_password_or_query_is_shown_whatever_they_are_made_of(address: str, shown: str) -> None:
    flags = {
        "exporters.tempo.endpoint": address,
        "exporters.otlp.backup.endpoint": address,
        "analytics.qdrant.url": address,
        "analytics.embeddings.url": address,
        "analytics.embeddings.model": "m",
        "analytics.embeddings.dimensions": 8,
        "store.url": address,
        "correlation.neo4j.uri": address.replace("http", "bolt"),
        "correlation.neo4j.password": "p",
    }

    settings = load_settings(flags=flags)

    told = settings.to_display()
    assert told["exporters"]["tempo"]["endpoint"] == shown
    assert told["exporters"]["otlp"]["backup"]["endpoint"] == shown
    assert told["analytics"]["qdrant"]["url"] == told["analytics"]["embeddings"]["url"] == shown
    assert told["store"]["url"] == shown
    assert told["correlation"]["neo4j"]["uri"] == shown.replace("http", "bolt")
    if shown != address:
        assert address not in repr(settings)


def test_an_address_without_slashes_is_refused_for_its_password_would_count_as_a_path() -> None:
    with pytest.raises(ConfigError, match=r"tempo\.endpoint: is no URL that begins with http://") as refused:
        load_settings(flags={"exporters.tempo.endpoint": "http:me:s3cret@h:4318"})
    assert "s3cret" not in str(refused.value)


def test_the_port_of_an_address_without_one_is_its_protocols() -> None:
    def given(**fields: object) -> dict[str, object]:
        fields = {"endpoint": "http://localhost", "protocol": "grpc", **fields}
        return {f"exporters.otlp.a.{name}": value for name, value in fields.items()}

    usual = load_settings(flags=given())
    assert usual.exporter_at(4317) == "otlp.a"
    assert "otlp.grpc_port" not in dict(usual.own_ports())
    assert load_settings(flags=given(protocol="http/protobuf")).exporter_at(80) == "otlp.a"
    assert load_settings(flags=given(endpoint="https://localhost")).exporter_at(443) == "otlp.a"
    with pytest.raises(ConfigError, match=r"otlp\.a\.endpoint: is this server itself \(otlp\.grpc_port\)"):
        load_settings(flags={**given(), "otlp.grpc_port": 4317})
