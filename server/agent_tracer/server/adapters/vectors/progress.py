"""ports.outlines.ProgressKeeper in a file."""

import json
from pathlib import Path
from typing import Final

import structlog

from agent_tracer.server.adapters.journal.files import write_new
from agent_tracer.server.ports.outlines import Progress
from agent_tracer.server.ports.settling import ReceivedRange

_log: Final = structlog.get_logger("vectors")


class FileProgress:
    """A JSON object, replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Progress | None:
        """See the port."""
        try:
            kept = json.loads(self._path.read_bytes())
            left = [ReceivedRange(int(start), int(end)) for start, end in kept["left"]]
            return Progress(str(kept["maker"]), int(kept["reached_ns"]), left)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.warning("how far it had come is not known; all traces are gone through", reason=type(error).__name__)
            return None

    def save(self, progress: Progress) -> None:
        """See the port."""
        kept = {
            "maker": progress.maker,
            "reached_ns": progress.reached_ns,
            "left": [(left.start_ns, left.end_ns) for left in progress.left],
        }
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_new(self._path, json.dumps(kept).encode())
