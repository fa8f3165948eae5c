"""Addresses to listen on, and the error that names the setting to change."""

import errno
import os
import socket
from dataclasses import dataclass
from typing import Final

_REASONS: Final = {
    errno.EADDRINUSE: "another program listens there already",
    errno.EACCES: "this user may not open that port",
    errno.EADDRNOTAVAIL: "this machine has no such address",
}


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where to listen; port 0 takes any free one. `setting` is the configuration key that has the port."""

    host: str
    port: int
    setting: str

    @property
    def target(self) -> str:
        """`host:port`, an IPv6 host in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class CannotListenError(Exception):
    """The address cannot be had; the text says why and which setting to change."""

    def __init__(self, address: ListenAddress, reason: str) -> None:
        variable = "AGENT_TRACER__" + address.setting.upper().replace(".", "__")
        super().__init__(
            f"cannot listen on port {address.port} of {address.host}: {reason}. Free the port, or choose "
            f"another one by {address.setting} in the configuration file or {variable} in the environment."
        )
        self.address = address


def check_free(address: ListenAddress) -> None:
    """Try the address once. Raises CannotListenError, with the reason that servers' own errors leave out."""
    try:
        family, kind, _, _, target = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind) as probe:
            # As servers do, so that a port whose last connections are still closing counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(target)
    except OSError as error:
        known = _REASONS.get(error.errno or 0)
        raise CannotListenError(address, known or os.strerror(error.errno or 0)) from None


def bound_socket(address: ListenAddress) -> socket.socket:
    """A TCP socket bound to the address, not listening yet. Raises CannotListenError."""
    check_free(address)
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((address.host, address.port))
    return bound
