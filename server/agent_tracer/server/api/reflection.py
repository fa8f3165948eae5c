"""Server reflection that finds methods by name as well."""

from collections.abc import Iterable
from typing import Any

import grpc.aio
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from grpc_reflection.v1alpha import reflection

SERVICE_NAME = reflection.SERVICE_NAME


class _Symbols:
    """The default pool, which looks up everything but methods (protobuf's C part leaves them out).

    The protocol names methods among the symbols (`reflection.proto`, file_containing_symbol), and tools ask for them.
    """

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the pool has
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802 - as the pool calls it
        """Raises KeyError for a symbol that nothing has."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            service, _, method = symbol.rpartition(".")
            found = self._pool.FindServiceByName(service)
            if method not in found.methods_by_name:
                raise
            return found.file


def add_reflection(service_names: Iterable[str], server: grpc.aio.Server) -> None:
    """Make the server tell its services: those named, whose descriptors are in the default pool, and its own."""
    reflection.enable_server_reflection((*service_names, SERVICE_NAME), server, pool=_Symbols())
