"""The client by TLS, against a gRPC server with a certificate of its own making."""

import ipaddress
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent_tracer.client import AgentTracer, UnavailableError


async def nothing(request: bytes, context: Any) -> bytes:
    return b""


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[str, Path]]:
    """A server's URL and the file of its certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(addresses, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path / "certificate.pem"
    file.write_bytes(certificate)
    server = grpc.aio.server()
    methods: dict[str, Any] = {"ListTraces": grpc.unary_unary_rpc_method_handler(nothing)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("agent_tracer.v1.TraceService", methods),))
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(private, certificate)]))
    await server.start()
    yield f"https://127.0.0.1:{port}", file
    await server.stop(None)


async def test_a_url_of_https_is_called_by_tls(served: tuple[str, Path]) -> None:
    url, certificate = served
    async with AgentTracer(url, tls=ssl.create_default_context(cafile=certificate)) as tracer:
        assert (await tracer.traces.list_traces()).traces == []


async def test_a_certificate_that_nobody_vouches_for_is_refused(served: tuple[str, Path]) -> None:
    async with AgentTracer(served[0], retries=0) as tracer:
        with pytest.raises(UnavailableError, match=r"no TLS with https://.*CERTIFICATE_VERIFY_FAILED.*see to tls"):
            await tracer.traces.list_traces()
