"""How a backend is spoken to, whatever the protocol: headers, TLS, compression, time."""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agent_tracer.server.adapters.exporters.destination import GRPC, Destination

_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e]*")
"""What both HTTP (RFC 9110, 5.5) and gRPC take: printable ASCII."""

_BINARY: Final = "-bin"
"""How names of gRPC's binary headers end, which no setting can hold."""


class ConnectionSettingError(Exception):
    """A setting of the exporter cannot be used. The text begins with its key below the exporter's."""


class TlsFilesError(ConnectionSettingError):
    """The files of certificates or keys cannot be used."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files. `ca`: whom to trust, the system's authorities where None; certificate and key: who we are."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """For HTTP. Blocks. Raises TlsFilesError."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except (OSError, ssl.SSLError):
            raise TlsFilesError("tls.ca_file holds no certificate in PEM that can be read") from None
        if self.certificate is not None:
            try:
                context.load_cert_chain(self.certificate, self.key)
            except (OSError, ssl.SSLError):
                message = "tls.cert_file and tls.key_file are no certificate and its key in PEM that can be read"
                raise TlsFilesError(message) from None
        return context

    def texts(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Authorities, key and certificate, as gRPC takes them. Blocks. Raises TlsFilesError."""
        self.context()  # gRPC takes anything and fails at every call
        ca = self.ca.read_bytes() if self.ca else None
        if self.certificate is None:
            return ca, None, None
        return ca, (self.key or self.certificate).read_bytes(), self.certificate.read_bytes()


def untrusted(key: str, why: str = "") -> str:
    """A backend whose certificate does not stand the check."""
    return (
        f"the certificate of the backend of {key} is not trusted{f' ({why})' if why else ''}: see to {key}.tls.ca_file"
    )


@dataclass(frozen=True, slots=True)
class Connection:
    """`key` is the exporter's in the settings, for texts. `headers` have their values in them: never shown."""

    key: str
    destination: Destination
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_seconds: float = 10.0
    gzip: bool = True
    tls: TlsFiles = TlsFiles()

    def __post_init__(self) -> None:
        """Raises ConnectionSettingError, which names no value, for it may be a key."""
        for name, value in self.headers.items():
            if not _HEADER_NAME.fullmatch(name):
                raise ConnectionSettingError("headers has a name that no header can have")
            if not _HEADER_VALUE.fullmatch(value):
                raise ConnectionSettingError(f"headers.{name} holds a character that no header can have")
            if self.destination.protocol == GRPC and name.lower().endswith(_BINARY):
                raise ConnectionSettingError(f"headers.{name} is binary in gRPC: leave it out, or use http/protobuf")

    @property
    def all_headers(self) -> dict[str, str]:
        """Names in lower case, as gRPC and HTTP/2 want them; given ones go before the endpoint's user and password."""
        given = {name.lower(): value for name, value in self.headers.items()}
        return {**self.destination.headers, **given}
