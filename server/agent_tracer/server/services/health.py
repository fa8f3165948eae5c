"""Whether the server can do its work, part by part."""

from collections.abc import Mapping
from typing import NamedTuple


class Component(NamedTuple):
    """`detail` is for whoever runs the server: what is wrong and what to do, without secrets or paths."""

    ok: bool
    detail: str


class Readiness:
    """The state of each component, as its owner last reported it. Used by one event loop."""

    def __init__(self) -> None:
        self._components: dict[str, Component] = {}

    def report(self, name: str, *, ok: bool, detail: str = "") -> None:
        """Set a component's state; the first report of a name makes the component known."""
        self._components[name] = Component(ok, detail)

    @property
    def components(self) -> Mapping[str, Component]:
        """By name, in the order of their first reports."""
        return dict(self._components)

    @property
    def is_ready(self) -> bool:
        """All known components are well; not ready while none has reported yet."""
        return bool(self._components) and all(component.ok for component in self._components.values())
