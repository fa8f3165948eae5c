"""Bodies of HTTP requests: read with bounds on size, on time, and on what decompression makes of them."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final, Protocol

from agent_tracer.server.domain.errors import RefusedError, TooLargeError, invalid
from agent_tracer.server.limits import HTTP_BODY_SECONDS_MAX, HTTP_READ_CHUNK_BYTES, MESSAGE_BYTES_MAX

_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
"""zlib's way to ask for gzip framing."""


class BodyError(Exception):
    """The body was refused; `cause` has the text for the sender, `http_status` what it is answered with."""

    def __init__(self, http_status: int, cause: RefusedError) -> None:
        super().__init__(str(cause))
        self.http_status = http_status
        self.cause = cause


def too_large() -> BodyError:
    """More than MESSAGE_BYTES_MAX, compressed or decompressed."""
    text = f"the body takes more than {MESSAGE_BYTES_MAX} bytes, decompressed: send smaller batches"
    return BodyError(413, TooLargeError(text))


def _too_slow() -> BodyError:
    return BodyError(408, invalid("body", f"did not arrive within {HTTP_BODY_SECONDS_MAX:g} s"))


def _bad_gzip() -> BodyError:
    return BodyError(400, invalid("body", "is not gzip, as content-encoding says, or is damaged or cut off"))


def _unknown_encoding() -> BodyError:
    return BodyError(415, invalid("content-encoding", f"must be {' or '.join(filter(None, DECODERS))}"))


class _Decoder(Protocol):
    def feed(self, data: bytes, room: int) -> bytes:
        """What data decodes to; one byte more than `room` at most. Raises BodyError."""
        ...

    def finish(self) -> None:
        """Raises BodyError where the encoding asks for more."""
        ...


class _Identity:
    def feed(self, data: bytes, room: int) -> bytes:
        return data[: room + 1]

    def finish(self) -> None:
        pass


class _Gzip:
    """One or more gzip members (RFC 1952, section 2.2)."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP_WINDOW)

    def feed(self, data: bytes, room: int) -> bytes:
        parts: list[bytes] = []
        room += 1
        while data and room:
            if self._member.eof:
                self._member = zlib.decompressobj(_GZIP_WINDOW)
            try:
                part = self._member.decompress(data, min(room, HTTP_READ_CHUNK_BYTES))
            except zlib.error:
                raise _bad_gzip() from None
            parts.append(part)
            room -= len(part)
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
        return b"".join(parts)

    def finish(self) -> None:
        if not self._member.eof:
            raise _bad_gzip()


DECODERS: Final[Mapping[str, Callable[[], _Decoder]]] = {"": _Identity, "identity": _Identity, "gzip": _Gzip}
"""By content-encoding."""


async def read_body(chunks: AsyncIterator[bytes], encoding: str) -> bytes:
    """The decoded body. Raises BodyError: 400 damaged, 408 too slow, 413 too large, 415 unknown encoding."""
    make = DECODERS.get(encoding)
    if make is None:
        raise _unknown_encoding()
    decoder, parts = make(), bytearray()
    compressed_bytes = 0
    try:
        async with asyncio.timeout(HTTP_BODY_SECONDS_MAX):
            async for chunk in chunks:
                compressed_bytes += len(chunk)
                parts += decoder.feed(chunk, MESSAGE_BYTES_MAX - len(parts))
                if max(len(parts), compressed_bytes) > MESSAGE_BYTES_MAX:
                    raise too_large()
    except TimeoutError:
        raise _too_slow() from None
    if compressed_bytes:
        decoder.finish()
    return bytes(parts)
