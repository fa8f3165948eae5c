"""XML of strangers, read as a stream: no tree, no entities, nothing fetched, a bounded depth.

Python's ElementTree expands a document's own entities and leaves it to the expat below how far. A report needs none, so
declaring one is refused here, by expat's own callback. An external DTD (Cobertura's reports name one) is never loaded.
"""

from collections.abc import Callable, Mapping
from typing import Final
from xml.parsers import expat

from agent_tracer.client.buildkit.files import ReportError

DEPTH_MAX: Final = 200
"""Elements within each other: suites nest by a few levels, packages by a few more."""

Start = Callable[[str, Mapping[str, str]], None]
End = Callable[[str], None]


def read_xml(data: bytes, start: Start, end: End = lambda _: None, text: Callable[[str], None] | None = None) -> None:
    """Call `start` and `end` with each element's name, without its namespace, and `text` with what stands between.

    Raises ReportError: no XML, entities, too deep.
    """
    depth = 0

    def opened(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > DEPTH_MAX:
            raise ReportError(f"elements are nested more than {DEPTH_MAX} deep")
        start(_local(name), attributes)

    def closed(name: str) -> None:
        nonlocal depth
        depth -= 1
        end(_local(name))

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = opened
    parser.EndElementHandler = closed
    parser.EntityDeclHandler = _refuse_entity
    if text is not None:
        parser.CharacterDataHandler = text
    try:
        parser.Parse(data, True)  # noqa: FBT003 - expat takes it by position
    except (expat.ExpatError, LookupError, ValueError) as error:  # the latter two: an encoding that there is not
        raise ReportError(f"no well-formed XML ({error})") from error


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def _refuse_entity(*_: object) -> None:
    raise ReportError("declares XML entities, which no report needs")
