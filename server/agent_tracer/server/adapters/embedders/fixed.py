"""An embedder that never changes: its id says all that its vectors depend on."""

from collections.abc import Sequence

from agent_tracer.server.ports.vectors import Embedder


class FixedEmbedder:
    """ports.vectors.Embedders of one embedder, such as a model's."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    @property
    def current(self) -> Embedder:
        """See the port."""
        return self._embedder

    @property
    def former(self) -> Embedder | None:
        """See the port."""
        return None

    def texts_wanted(self, traces: int) -> int:  # noqa: ARG002 - the port's
        """See the port."""
        return 0

    async def learn(self, texts: Sequence[str], traces: int) -> None:
        """It was not asked for."""
        raise NotImplementedError

    def forget_former(self) -> None:
        """See the port."""
