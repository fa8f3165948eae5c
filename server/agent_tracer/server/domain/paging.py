"""Pages: their size, their opaque tokens, and where one ends early.

A token is base64url of a version byte, an 8-byte BLAKE2b hash and a position. The hash covers the list's
name, tenant and filters, and the position: a token of another list, or a damaged one, is told, not followed.
"""

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from agent_tracer.server.domain.errors import InvalidFieldsError, invalid
from agent_tracer.server.limits import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX

_VERSION: Final = 1
_HASH_BYTES: Final = 8
_TOKEN_LENGTH_MAX: Final = 2048
_PERSON: Final = b"at:page-token"

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class PageRequest:
    """As the caller wrote it: size 0 for the default, token empty for the first page."""

    size: int = 0
    token: str = ""


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Items in list order; an empty token ends the list."""

    items: Sequence[Item]
    next_token: str = ""


def page_size(page: PageRequest) -> int:
    """Items of the page: the default for 0, never more than PAGE_SIZE_MAX (AIP-158).

    Raises InvalidFieldsError below 0.
    """
    if page.size < 0:
        raise invalid("page_size", f"must be 0 (for {PAGE_SIZE_DEFAULT}) to {PAGE_SIZE_MAX}")
    return min(page.size or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)


def encode_token(binding: Sequence[str], position: bytes) -> str:
    """The token of a position in the list that `binding` names: its method, tenant and filters."""
    raw = bytes([_VERSION]) + _hash(binding, position) + position
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode_token(binding: Sequence[str], token: str) -> bytes:
    """The position in it. Raises InvalidFieldsError on page_token where the token is not of this list."""
    if len(token) > _TOKEN_LENGTH_MAX:
        raise token_error()
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        raw = base64.b64decode(padded, altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise token_error() from None
    version, given, position = raw[:1], raw[1 : 1 + _HASH_BYTES], raw[1 + _HASH_BYTES :]
    if version != bytes([_VERSION]) or given != _hash(binding, position):
        raise token_error()
    return position


def token_error() -> InvalidFieldsError:
    """What a token that does not fit is told."""
    return invalid("page_token", "is not one that this list gave for these filters: leave it out to start again")


def fitting(items: Sequence[Item], weigh: Callable[[Item], int], budget: int) -> Sequence[Item]:
    """The first items that weigh no more than the budget together; one at least where there is any."""
    left = budget
    for index, item in enumerate(items):
        left -= weigh(item)
        if left < 0:
            return items[: max(1, index)]
    return items


def _hash(binding: Sequence[str], position: bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=_HASH_BYTES, person=_PERSON)
    for part in (*(text.encode() for text in binding), position):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()
