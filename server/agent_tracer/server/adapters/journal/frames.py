"""Walking the frames of one segment file, past damage where there is any."""

import os
from collections.abc import Iterator
from typing import Final, NamedTuple
from zlib import crc32

from agent_tracer.server.adapters.journal.segment import (
    FRAME_HEADER_BYTES_MAX,
    FRAME_MAGIC,
    SEGMENT_HEADER_BYTES,
    FrameHeader,
    SegmentHeader,
    decode_frame_header,
)
from agent_tracer.server.limits import JOURNAL_READ_BUFFER_BYTES
from agent_tracer.server.ports.journal import Position, Record

_MAGIC_OVERLAP: Final = len(FRAME_MAGIC) - 1


class Damage(NamedTuple):
    """A range of positions that holds no readable record."""

    start: Position
    end: Position


class Walker:
    """Reads frames through one buffer, which is kept between walks. Not shared between threads."""

    def __init__(self, buffer_bytes: int = JOURNAL_READ_BUFFER_BYTES) -> None:
        self._buffer = bytearray(max(buffer_bytes, FRAME_HEADER_BYTES_MAX))
        self._fd = -1
        self._origin = 0
        self._end = 0
        self._forget()

    def walk(self, fd: int, header: SegmentHeader, start: Position, end: Position) -> Iterator[Record | Damage]:
        """The records of a segment file from `start` (where a frame begins) to `end`, in order.

        Unreadable ranges are yielded as Damage; the walk goes on at the next good frame, or ends at `end`.
        Raises OSError where the file cannot be read. One walk at a time.
        """
        self._fd, self._origin, self._end = fd, SEGMENT_HEADER_BYTES - header.first, end
        self._forget()
        position: int = start
        while position < end:
            frame = self._header(position, header.salt)
            if frame is None:
                stop = self._next_frame(position + 1, header.salt)
                yield Damage(Position(position), Position(stop))
                position = stop
                continue
            stop = position + frame.header_bytes + frame.payload_bytes
            payload = self._payload(position, frame) if stop <= end else None
            if payload is None:
                stop = min(stop, end)
                yield Damage(Position(position), Position(stop))
            else:
                yield Record(Position(position), Position(stop), frame.signal, frame.tenant, frame.received_ns, payload)
            position = stop

    def _forget(self) -> None:
        self._start = 0
        self._view = memoryview(self._buffer)[:0]

    def _header(self, position: int, salt: int) -> FrameHeader | None:
        offset = self._seek(position, FRAME_HEADER_BYTES_MAX)
        return decode_frame_header(self._view, offset, position, salt)

    def _payload(self, position: int, frame: FrameHeader) -> bytes | None:
        place, size = position + frame.header_bytes, frame.payload_bytes
        if size <= len(self._buffer):
            offset = self._seek(place, size)
            payload = bytes(self._view[offset : offset + size])
        else:
            payload = os.pread(self._fd, size, self._origin + place)
        return payload if len(payload) == size and crc32(payload) == frame.payload_crc else None

    def _seek(self, position: int, size: int) -> int:
        """Where `position` is in the view, with `size` bytes behind it (fewer only at the end)."""
        wanted = min(position + size, self._end)
        if position < self._start or wanted > self._start + len(self._view):
            window = memoryview(self._buffer)[: min(len(self._buffer), self._end - position)]
            loaded = os.preadv(self._fd, [window], self._origin + position)
            self._start, self._view = position, window[:loaded]
        return position - self._start

    def _next_frame(self, position: int, salt: int) -> int:
        """The position of the next good frame header at or after `position`; the end where there is none."""
        while position < self._end:
            offset = self._seek(position, FRAME_HEADER_BYTES_MAX)
            hit = self._buffer.find(FRAME_MAGIC, offset, len(self._view))
            if hit >= 0:
                position = self._start + hit
                if self._header(position, salt) is not None:
                    return position
                position += 1
            elif len(self._view) - offset <= _MAGIC_OVERLAP:
                break
            else:
                position = self._start + len(self._view) - _MAGIC_OVERLAP
        return self._end


def sequence_at(fd: int, header: SegmentHeader, position: Position) -> int | None:
    """The sequence number of the frame that starts at `position`, None where there is no good one."""
    data = os.pread(fd, FRAME_HEADER_BYTES_MAX, SEGMENT_HEADER_BYTES + position - header.first)
    frame = decode_frame_header(data, 0, position, header.salt)
    return None if frame is None else frame.sequence
