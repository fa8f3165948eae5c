"""Pages of what is kept, newest first."""

import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, TypeVar

from agent_tracer.server.domain.paging import Page, PageRequest, decode_token, encode_token, page_size, token_error
from agent_tracer.server.ports.archive import ArchiveCursor

_CREATED: Final = struct.Struct(">q")
"""Head of a position: the last item's time; its id follows."""


class Kept(Protocol):
    """What lists order by."""

    @property
    def create_time_ns(self) -> int:
        """UTC nanoseconds."""
        ...


Item = TypeVar("Item", bound=Kept)


async def page_of(
    binding: Sequence[str],
    page: PageRequest,
    read: Callable[[int, ArchiveCursor | None], Awaitable[Sequence[Item]]],
    id_of: Callable[[Item], str],
) -> Page[Item]:
    """The page of `read`'s items. Raises InvalidFieldsError for a wrong size or token."""
    size = page_size(page)
    after = _cursor(decode_token(binding, page.token)) if page.token else None
    found = await read(size + 1, after)
    if len(found) <= size:
        return Page(found)
    last = found[size - 1]
    position = _CREATED.pack(last.create_time_ns) + id_of(last).encode()
    return Page(found[:size], encode_token(binding, position))


def _cursor(position: bytes) -> ArchiveCursor:
    try:
        (created_ns,) = _CREATED.unpack_from(position)
        return ArchiveCursor(created_ns, position[_CREATED.size :].decode())
    except (struct.error, UnicodeDecodeError):
        raise token_error() from None
