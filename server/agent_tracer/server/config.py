"""Settings: from a file, the environment and flags, each over the one before.

A variable is `AGENT_TRACER__` and the key in capitals, `__` for each dot.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import platformdirs
from pydantic import AfterValidator, ByteSize, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from agent_tracer.server import limits
from agent_tracer.server.config_exporters import LOOPBACK, Exporters, own_endpoints
from agent_tracer.server.config_problems import (
    ENV_DELIMITER,
    ENV_PREFIX,
    ConfigError,
    Problem,
    Row,
    problem_of,
    rows,
    unknown_variables,
)
from agent_tracer.server.config_sources import from_flags, map_texts, merged, read_file, without
from agent_tracer.server.config_values import Days, HttpUrl, IpAddress, Port, Section, url_of

__all__ = ["ConfigError", "Problem", "Row", "Settings", "describe", "load_settings", "without_secrets"]

_URL_USER: Final = re.compile(r"(?<=://)[^/?#]+(?=@)")
"""User and password: up to the last `@` before the path, for a password may hold one, or a space."""

_URL_QUERY: Final = re.compile(r"(://[^?#]*[?#]).+", re.DOTALL)
"""What follows the path. No name is kept: a key may stand there alone, or end in `=`."""


class Tracer(Section):
    """Where the server listens."""

    host: IpAddress = Field(default="127.0.0.1", description="IP address that every port is bound to.")
    port: Port = Field(default=3007, description="REST: traces, correlation, OTLP, metrics, health.")
    ace_port: Port = Field(default=3008, description="REST: scores and benchmarks (ACE).")
    atlas_port: Port = Field(default=3009, description="REST: learning and workflow analytics (ATLAS).")
    grpc_port: Port = Field(default=50051, description="gRPC: every service, with reflection.")


class Otlp(Section):
    """OpenTelemetry's own ports, so that an SDK without settings finds the server."""

    enabled: bool = Field(default=True, description="Whether OTLP is taken on its usual ports too.")
    grpc_port: Port = Field(default=4317, description="OTLP over gRPC.")
    http_port: Port = Field(default=4318, description="OTLP over HTTP (protobuf and JSON).")


class Prometheus(Section):
    """The port that Prometheus scrapes."""

    enabled: bool = Field(default=True, description="Whether /metrics is served on its own port too.")
    port: Port = Field(default=9090, description="Port of /metrics.")


class Metrics(Section):
    """The server's own metrics."""

    prometheus: Prometheus = Prometheus()


class Neo4j(Section):
    """A Neo4j server that holds the graph."""

    uri: Annotated[str, AfterValidator(url_of("bolt", "bolt+s", "neo4j", "neo4j+s"))] = Field(
        description="Neo4j's address.", examples=["bolt://localhost:7687"], repr=False
    )
    user: str = Field(default="neo4j", description="Neo4j's user.")
    password: SecretStr = Field(description="The user's password.", examples=["${NEO4J_PASSWORD}"])


class Detector(Section):
    """Incidents that the server notices by itself."""

    enabled: bool = Field(default=True, description="Whether services and agents are watched for incidents.")


class Correlation(Section):
    """Correlation and root cause."""

    detector: Detector = Detector()
    neo4j: Neo4j | None = Field(default=None, description="Graph in a Neo4j server; embedded where absent.")


class Qdrant(Section):
    """A Qdrant server that holds the embeddings."""

    url: HttpUrl = Field(description="Qdrant's address.", examples=["http://localhost:6333"], repr=False)
    collection: str = Field(default="trace-embeddings", description="Collection of the traces' embeddings.")
    api_key: SecretStr | None = Field(default=None, description="The server's key. Shown masked.")


class Embeddings(Section):
    """A model that traces are embedded by, behind an OpenAI-compatible service."""

    url: HttpUrl = Field(
        description="Its address, before /v1/embeddings.", examples=["http://localhost:11434"], repr=False
    )
    model: str = Field(description="The model's name.", examples=["nomic-embed-text"])
    dimensions: Annotated[int, Field(ge=1, le=8192)] = Field(description="Numbers of its vectors.", examples=[768])
    api_key: SecretStr | None = Field(default=None, description="The service's key. Shown masked.")


EvaluationWeight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Analytics(Section):
    """Scores, and similarity of traces."""

    evaluation_weights: dict[str, EvaluationWeight] = Field(
        default={}, description="How much evaluations of a name count in an agent's quality; 1 where absent."
    )

    embeddings: Embeddings | None = Field(
        default=None, description="Embeddings by a model; by words and the shape of the span tree where absent."
    )
    qdrant: Qdrant | None = Field(default=None, description="Vectors in a Qdrant server; embedded where absent.")


class Store(Section):
    """Where telemetry is kept."""

    url: Annotated[str, AfterValidator(url_of("chdb", "clickhouse", "clickhouses", "http", "https"))] = Field(
        default="chdb://",
        description="`chdb://` (embedded, under data_dir) or a ClickHouse server's URL.",
        repr=False,
    )
    cluster: str | None = Field(default=None, description="ClickHouse cluster, where the tables are spread over one.")
    retention_days: Days = Field(default=30, description="Days that spans, logs and metric points are kept.")
    rollup_retention_days: Days = Field(default=395, description="Days that the per-minute rollups are kept.")


class Journal(Section):
    """The write-ahead log."""

    max_bytes: ByteSize = Field(
        default=ByteSize(limits.JOURNAL_BYTES_MAX_DEFAULT),
        ge=2 * limits.JOURNAL_SEGMENT_BYTES,
        description="Disk that it may hold, such as `8GiB`; past it writes are refused.",
    )


class Log(Section):
    """The server's log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="The least that is told.")
    format: Literal["auto", "console", "json"] = Field(
        default="auto", description="`auto`: colours on a terminal, else JSON."
    )


class Settings(BaseSettings):
    """All settings. `Settings()` holds the defaults; `load_settings` reads file, environment and flags."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_DELIMITER,
    )

    data_dir: Path = Field(
        default_factory=lambda: platformdirs.user_data_path("agent-tracer"),
        description="Directory of the journal and the embedded store.",
        json_schema_extra={"default": "the user's data directory"},
    )
    tracer: Tracer = Tracer()
    otlp: Otlp = Otlp()
    exporters: Exporters = Exporters()
    metrics: Metrics = Metrics()
    correlation: Correlation = Correlation()
    analytics: Analytics = Analytics()
    store: Store = Store()
    journal: Journal = Journal()
    log: Log = Log()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """`load_settings` puts the sources together, for the file needs its problems told by key."""
        return (init_settings,)

    def to_display(self) -> dict[str, Any]:
        """The settings as nested plain values, secrets masked (in URLs, too)."""
        shown = map_texts(self.model_dump(mode="json"), without_secrets)
        return dict(shown)

    def exporter_at(self, port: int) -> str | None:
        """Name of an enabled exporter whose backend is on this port of this machine."""
        for name, exporter in self.exporters.enabled().items():
            found = exporter.destination()
            if found.port == port and found.host in LOOPBACK:
                return name
        return None

    def own_ports(self) -> Iterator[tuple[str, int]]:
        """Where the server itself listens: the setting and its port.

        A usual OTLP port that nobody asked for is left to an exporter's backend that is there; one that was set stays.
        """
        for key, port in _ports(self):
            section, _, name = key.rpartition(".")
            is_usual = section == "otlp" and name not in self.otlp.model_fields_set
            if not is_usual or self.exporter_at(port) is None:
                yield key, port


def without_secrets(text: str) -> str:
    """The text with what may be secret in a URL masked: user and password, query and fragment."""
    return _URL_QUERY.sub(r"\1***", _URL_USER.sub("***", text))


def describe() -> tuple[Row, ...]:
    """Every setting, in the order of the file."""
    return tuple(rows(Settings))


def load_settings(path: Path | None = None, flags: Mapping[str, object] | None = None) -> Settings:
    """Reads the file (YAML, `${NAME}` and `${NAME:-default}` expanded), then the environment, then the flags.

    `flags` are by dotted key (`tracer.port`); those that are None were not given. Raises ConfigError.
    """
    known = {row.key: row for row in describe()}
    problems: list[Problem] = []
    values = read_file(path, problems)
    values = merged(values, _environment(known, problems))
    values = merged(values, from_flags(flags or {}))
    try:
        settings = Settings(**values)
    except ValidationError as error:
        told = {problem.key for problem in problems}
        found = (problem_of(e, known) for e in error.errors(include_url=False, include_input=False))
        problems += [problem for problem in found if problem.key not in told]
        raise ConfigError(problems) from None
    problems += _shared_ports(settings)
    problems += own_endpoints(settings.exporters, settings.tracer.host, settings.own_ports())
    if problems:
        raise ConfigError(problems)
    return settings


def _environment(known: Mapping[str, Row], problems: list[Problem]) -> dict[str, Any]:
    unknown = unknown_variables(os.environ, known)
    problems += unknown.values()
    try:
        found = EnvSettingsSource(Settings)()
    except SettingsError:
        wrong = "holds a section, or a table, that is no JSON"
        problems.append(Problem(f"{ENV_PREFIX}*", wrong, "write JSON, or set its keys one by one"))
        return {}
    for key in unknown:
        without(found, key.split("."))
    return found


def _shared_ports(settings: Settings) -> Iterator[Problem]:
    """Two of the server's own listeners on one port."""
    taken: dict[int, str] = {}
    for key, port in _ports(settings):
        if port in taken:
            yield Problem(key, f"is {port}, which {taken[port]} has already", "give it a port of its own")
        taken.setdefault(port, key)


def _ports(settings: Settings) -> Iterator[tuple[str, int]]:
    for name in ("port", "ace_port", "atlas_port", "grpc_port"):
        yield f"tracer.{name}", getattr(settings.tracer, name)
    if settings.otlp.enabled:
        yield "otlp.grpc_port", settings.otlp.grpc_port
        yield "otlp.http_port", settings.otlp.http_port
    if settings.metrics.prometheus.enabled:
        yield "metrics.prometheus.port", settings.metrics.prometheus.port
