"""What settings are made of: a section, and kinds of values with their checks."""

import ipaddress
from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A part of the settings."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=True)


def _ip_address(host: str) -> str:
    try:
        return "127.0.0.1" if host == "localhost" else str(ipaddress.ip_address(host))
    except ValueError:
        raise ValueError("is no IP address") from None


def url_of(*schemes: str) -> Callable[[str], str]:
    """A check that the text is a URL of one of the schemes, for AfterValidator."""

    def check(url: str) -> str:
        try:
            parts = urlsplit(url)
            # Without slashes everything is a path: a password in it is for nobody, and would be shown.
            known, _ = parts.scheme in schemes and f"{parts.scheme}://" in url.lower(), parts.port
        except ValueError:
            known = False
        if not known:
            raise ValueError(f"is no URL that begins with {' or '.join(f'{s}://' for s in schemes)}")
        return url

    return check


IpAddress = Annotated[str, AfterValidator(_ip_address)]
Port = Annotated[int, Field(ge=1, le=65_535)]
HttpUrl = Annotated[str, AfterValidator(url_of("http", "https"))]
Days = Annotated[int, Field(ge=1, le=36_500)]
