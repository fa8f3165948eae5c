"""The journal on disk: segment headers and frames, encoded and decoded without I/O.

A segment is a header and then frames, all little endian. Positions count frame bytes only: a frame at
position p lies at file offset SEGMENT_HEADER_BYTES + p - first position of its segment.

    segment  magic(8) version(2) zero(2) salt(4) first position(8) first sequence(8) crc32(4)
    frame    magic(4) header crc32(4) payload crc32(4) payload bytes(4) position(8) sequence(8) received_ns(8)
             tenant bytes(2) signal(1) zero(1) tenant payload

The header checksum starts from the segment's random salt and covers the frame's own position. So a search for
the next good frame behind damage cannot be led astray by payload bytes that imitate a frame.
"""

from dataclasses import dataclass
from struct import Struct
from typing import Final, NamedTuple, TypeAlias
from zlib import crc32

from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import JOURNAL_TENANT_BYTES_MAX
from agent_tracer.server.ports.journal import Position

FORMAT_VERSION: Final = 1
FRAME_MAGIC: Final = b"\xf5AJ\xfa"

_SEGMENT_MAGIC: Final = b"\x89ATRJRNL"
_SEGMENT: Final = Struct("<8sHxxIQQ")
_CRC: Final = Struct("<I")
_FRAME: Final = Struct("<4sIIIQQqHBx")
_FRAME_CRC_SKIP: Final = 8
_SIGNALS: Final = {int(signal): signal for signal in Signal}

SEGMENT_HEADER_BYTES: Final = _SEGMENT.size + _CRC.size
FRAME_HEADER_BYTES_MAX: Final = _FRAME.size + JOURNAL_TENANT_BYTES_MAX

Buffer: TypeAlias = bytes | bytearray | memoryview


class JournalFormatError(Exception):
    """The data directory was written by a version of the server that this one cannot read."""


class SegmentHeader(NamedTuple):
    """What a segment says of itself: position and sequence number of its first frame, its checksum salt."""

    first: Position
    first_sequence: int
    salt: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One request to be written. `checksum` is the payload's crc32, None where it is still to be computed."""

    signal: Signal
    tenant: bytes
    received_ns: int
    payload: bytes
    checksum: int | None

    @property
    def frame_bytes(self) -> int:
        """Bytes of the whole frame on disk."""
        return _FRAME.size + len(self.tenant) + len(self.payload)


class FrameHeader(NamedTuple):
    """A decoded frame header, its checksum verified; the payload's is not yet."""

    sequence: int
    received_ns: int
    signal: Signal
    tenant: TenantId
    header_bytes: int
    payload_bytes: int
    payload_crc: int


def encode_segment_header(header: SegmentHeader) -> bytes:
    """The first SEGMENT_HEADER_BYTES bytes of a segment file."""
    fields = _SEGMENT.pack(_SEGMENT_MAGIC, FORMAT_VERSION, header.salt, header.first, header.first_sequence)
    return fields + _CRC.pack(crc32(fields))


def decode_segment_header(data: Buffer) -> SegmentHeader | None:
    """The header of a segment file, None where it is damaged.

    Raises JournalFormatError when the file names another format version. That is looked at before the
    checksum, because another version may lay its header out differently.
    """
    if len(data) < SEGMENT_HEADER_BYTES:
        return None
    magic, version, salt, first, first_sequence = _SEGMENT.unpack_from(data)
    if magic != _SEGMENT_MAGIC:
        return None
    if version != FORMAT_VERSION:
        raise JournalFormatError(_unknown_version("segment", version))
    if _CRC.unpack_from(data, _SEGMENT.size)[0] != crc32(data[: _SEGMENT.size]):
        return None
    return SegmentHeader(Position(first), first_sequence, salt)


def _unknown_version(what: str, version: int) -> str:
    return (
        f"the journal has a {what} of format version {version}, this server reads version {FORMAT_VERSION}: "
        "start the server version that wrote it, or another data directory"
    )


def encode_frame_header(entry: Entry, position: int, sequence: int, salt: int) -> bytes:
    """Everything of a frame before its payload."""
    payload_crc = crc32(entry.payload) if entry.checksum is None else entry.checksum
    fields = _FRAME.pack(
        FRAME_MAGIC,
        0,
        payload_crc,
        len(entry.payload),
        position,
        sequence,
        entry.received_ns,
        len(entry.tenant),
        entry.signal,
    )
    covered = fields[_FRAME_CRC_SKIP:] + entry.tenant
    return b"".join((FRAME_MAGIC, _CRC.pack(crc32(covered, salt)), covered))


def decode_frame_header(data: Buffer, offset: int, position: int, salt: int) -> FrameHeader | None:
    """The frame header at `offset` of `data`, which is journal position `position`; None if there is none.

    `data` must hold FRAME_HEADER_BYTES_MAX bytes from `offset` on, or end where the segment ends.
    """
    if len(data) - offset < _FRAME.size:
        return None
    magic, crc, payload_crc, payload_bytes, place, sequence, received_ns, tenant_bytes, signal = _FRAME.unpack_from(
        data, offset
    )
    if magic != FRAME_MAGIC or place != position or tenant_bytes > JOURNAL_TENANT_BYTES_MAX:
        return None
    header_bytes = _FRAME.size + tenant_bytes
    if crc32(data[offset + _FRAME_CRC_SKIP : offset + header_bytes], salt) != crc or signal not in _SIGNALS:
        return None
    tenant = TenantId(str(data[offset + _FRAME.size : offset + header_bytes], "utf-8"))
    return FrameHeader(sequence, received_ns, _SIGNALS[signal], tenant, header_bytes, payload_bytes, payload_crc)
