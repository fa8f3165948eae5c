"""User and password of an address, taken out of it: gRPC takes them for a host's name, and so does urllib."""

from base64 import b64encode
from urllib.parse import unquote, urlsplit

__all__ = ["split_credentials"]


def split_credentials(url: str) -> tuple[str, dict[str, str]]:
    """The URL without user and password, and the header that says them: basic authentication (RFC 7617).

    No header where the URL names no user. Raises ValueError for what is no URL.
    """
    parts = urlsplit(url)
    said, _, host = parts.netloc.rpartition("@")
    if not said:
        return parts._replace(netloc=host).geturl(), {}
    user, _, password = said.partition(":")
    encoded = b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
    return parts._replace(netloc=host).geturl(), {"authorization": f"Basic {encoded}"}
