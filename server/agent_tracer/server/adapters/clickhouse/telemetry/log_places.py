"""Where in the code a log record was written: the surest sign that two records are of one template. SQL."""

from typing import Final

from agent_tracer.server.adapters.clickhouse.sql import array, quoted

FILE_KEYS: Final = ("code.file.path", "code.filepath", "code.namespace", "code.function.name", "code.function")
LINE_KEYS: Final = ("code.line.number", "code.lineno")
"""OpenTelemetry's names, the later of each kind deprecated."""

_HEAD_BYTES: Final = 160
"""Of a text: a place further on is of a stack trace, and not the record's own."""

_WORDS: Final = 6
"""With a place: some loggers tell their own line for every record, and what those say must be told apart."""

_WRITTEN: Final = (
    r"\b(?:[\w$-]+/)*[\w$-]+\.(?:java|kt|scala|groovy|py|go|rs|js|ts|jsx|tsx|rb|php|cs|cpp|cc|c|swift|ex|erl):\d+"
    r"|\b(?:[\w$]+\.)+[A-Z][\w$]*[#:]\d+"
)
"""As texts have it: a file and its line, or a qualified class and its line."""


def place(attributes: str, body: str) -> str:
    """Expression of the place, empty where a record tells none."""
    lines = array(map(quoted, LINE_KEYS))
    told = f"concat({_first(attributes, array(map(quoted, FILE_KEYS)))}, '#', {_first(attributes, lines)})"
    written = f"extract(left({body}, {_HEAD_BYTES}), {quoted(_WRITTEN)})"
    return f"if(hasAny(mapKeys({attributes}), {lines}), {told}, {written})"


def line_hash(place_: str, masked: str) -> str:
    """Expression of what records of one template share: place and first words, else the masked text."""
    words = f"arraySlice(splitByChar(' ', left({masked}, {_HEAD_BYTES})), 1, {_WORDS})"
    return f"if({place_} != '', cityHash64({place_}, {words}), cityHash64({masked}))"


def _first(attributes: str, keys: str) -> str:
    return f"arrayFirst(t -> t != '', arrayMap(k -> {attributes}[k], {keys}))"
