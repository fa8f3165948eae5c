"""Frames and segments of the journal: what goes in comes out, and damage never takes a neighbour with it."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_tracer.server.adapters.journal.frames import Damage, Walker, sequence_at
from agent_tracer.server.adapters.journal.segment import (
    FRAME_HEADER_BYTES_MAX,
    SEGMENT_HEADER_BYTES,
    Entry,
    JournalFormatError,
    SegmentHeader,
    decode_frame_header,
    decode_segment_header,
    encode_frame_header,
    encode_segment_header,
)
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import JOURNAL_TENANT_BYTES_MAX
from agent_tracer.server.ports.journal import Position, Record

HEADER = SegmentHeader(first=Position(1_000_000), first_sequence=77, salt=0xC0FFEE)

entries = st.builds(
    Entry,
    signal=st.sampled_from(Signal),
    tenant=st.text(st.characters(codec="utf-8"), max_size=256).map(str.encode),
    received_ns=st.integers(0, 2**63 - 1),
    payload=st.binary(max_size=3000),
    checksum=st.none(),
)


def entry(payload: bytes, tenant: bytes = b"t") -> Entry:
    return Entry(Signal.TRACES, tenant, 5, payload, None)


def segment_bytes(records: Sequence[Entry], header: SegmentHeader = HEADER) -> tuple[bytes, list[int]]:
    """A segment file's bytes, and the file offsets where its frames begin, the end included."""
    data = encode_segment_header(header)
    offsets = [len(data)]
    position = int(header.first)
    for sequence, record in enumerate(records, header.first_sequence):
        data += encode_frame_header(record, position, sequence, header.salt) + record.payload
        position += record.frame_bytes
        offsets.append(len(data))
    return data, offsets


@contextmanager
def file_of(data: bytes) -> Iterator[int]:
    fd = os.memfd_create("segment")
    try:
        os.write(fd, data)
        yield fd
    finally:
        os.close(fd)


def walk(data: bytes, buffer_bytes: int = 4096) -> list[Record | Damage]:
    end = Position(HEADER.first + len(data) - SEGMENT_HEADER_BYTES)
    with file_of(data) as fd:
        return list(Walker(buffer_bytes).walk(fd, HEADER, HEADER.first, end))


def payloads(items: Sequence[Record | Damage]) -> list[bytes]:
    return [item.payload for item in items if isinstance(item, Record)]


@given(st.lists(entries, max_size=8), st.integers(1, 8192))
def test_frames_come_back_as_they_went_in_whatever_the_buffer(records: list[Entry], buffer_bytes: int) -> None:
    data, offsets = segment_bytes(records)

    items = walk(data, buffer_bytes)

    assert [
        (item.signal, item.tenant.encode(), item.received_ns, item.payload)
        for item in items
        if isinstance(item, Record)
    ] == [(record.signal, record.tenant, record.received_ns, record.payload) for record in records]
    places = [(offset - SEGMENT_HEADER_BYTES + HEADER.first) for offset in offsets]
    assert [(item.start, item.end) for item in items] == list(pairwise(places))


@given(entries)
def test_checksum_given_or_computed_makes_the_same_frame(record: Entry) -> None:
    given_checksum = Entry(record.signal, record.tenant, record.received_ns, record.payload, crc32(record.payload))

    assert encode_frame_header(record, 9, 1, 3) == encode_frame_header(given_checksum, 9, 1, 3)


def test_torn_tail_at_every_byte_keeps_all_whole_frames() -> None:
    records = [entry(b"a" * 40), entry(b""), entry(b"c" * 90, b"tenant"), entry(b"d")]
    data, offsets = segment_bytes(records)

    for cut in range(SEGMENT_HEADER_BYTES, len(data) + 1):
        items = walk(data[:cut])
        whole = sum(1 for offset in offsets[1:] if offset <= cut)
        assert payloads(items) == [record.payload for record in records[:whole]]
        damage = [item for item in items if isinstance(item, Damage)]
        assert bool(damage) == (cut not in offsets), "an unfinished frame is reported, a clean end is not"


def test_flipping_any_byte_of_a_frame_loses_that_frame_only() -> None:
    records = [entry(b"first"), entry(b"second" * 9), entry(b"third")]
    data, offsets = segment_bytes(records)

    for place in range(offsets[1], offsets[2]):
        spoiled = bytearray(data)
        spoiled[place] ^= 0x55
        items = walk(bytes(spoiled))
        assert payloads(items) == [b"first", b"third"], f"byte {place - offsets[1]} of the frame"


@given(st.data())
def test_random_bytes_over_a_segment_never_break_the_walk(data: st.DataObject) -> None:
    records = data.draw(st.lists(entries, min_size=1, max_size=5))
    spoiled = bytearray(segment_bytes(records)[0])
    noise = data.draw(st.binary(min_size=1, max_size=64))
    place = data.draw(st.integers(SEGMENT_HEADER_BYTES, len(spoiled)))
    spoiled[place : place + len(noise)] = noise

    items = walk(bytes(spoiled))

    assert set(payloads(items)) <= {record.payload for record in records}
    assert all(left.end == right.start for left, right in pairwise(items))
    assert all(item.start < item.end for item in items)


def test_zeros_behind_the_last_frame_are_damage_and_not_records() -> None:
    data, _ = segment_bytes([entry(b"kept")])

    items = walk(data + bytes(10_000))

    assert payloads(items) == [b"kept"]
    assert isinstance(items[-1], Damage)


def test_a_payload_that_imitates_a_frame_is_not_taken_for_one_behind_damage() -> None:
    other_salt = HEADER.salt + 1
    outer_header_bytes = entry(b"").frame_bytes
    inner = entry(b"forged", b"another tenant")
    place = HEADER.first + outer_header_bytes
    forged = encode_frame_header(inner, place, HEADER.first_sequence, other_salt) + inner.payload
    data, offsets = segment_bytes([entry(forged), entry(b"true")])
    spoiled = bytearray(data)
    spoiled[offsets[0]] ^= 0xFF

    assert payloads(walk(bytes(spoiled))) == [b"true"]
    assert decode_frame_header(forged, 0, place, other_salt), "with the salt known it would have been a frame"


def test_a_frame_counts_only_at_its_own_position() -> None:
    data, offsets = segment_bytes([entry(b"x")])

    assert decode_frame_header(data, offsets[0], HEADER.first, HEADER.salt)
    assert decode_frame_header(data, offsets[0], HEADER.first + 1, HEADER.salt) is None


def test_the_longest_tenant_fits_the_header_bound() -> None:
    record = entry(b"", b"t" * JOURNAL_TENANT_BYTES_MAX)

    assert len(encode_frame_header(record, 0, 0, 0)) == FRAME_HEADER_BYTES_MAX
    assert payloads(walk(segment_bytes([record])[0])) == [b""]


def test_sequence_numbers_count_on_from_the_segment_header() -> None:
    data, offsets = segment_bytes([entry(b"a"), entry(b"b")])

    with file_of(data) as fd:
        places = [Position(HEADER.first + offset - SEGMENT_HEADER_BYTES) for offset in offsets]
        assert [sequence_at(fd, HEADER, place) for place in places] == [77, 78, None]


@given(st.integers(0, 2**63), st.integers(0, 2**63), st.integers(0, 2**32 - 1))
def test_segment_header_comes_back_as_it_went_in(first: int, sequence: int, salt: int) -> None:
    header = SegmentHeader(Position(first), sequence, salt)
    data = encode_segment_header(header)

    assert len(data) == SEGMENT_HEADER_BYTES
    assert decode_segment_header(data + b"frames") == header


def test_a_damaged_segment_header_is_seen_at_every_byte() -> None:
    data = encode_segment_header(HEADER)
    version = range(8, 10)

    for place in set(range(len(data))) - set(version):
        spoiled = bytearray(data)
        spoiled[place] ^= 1
        assert decode_segment_header(bytes(spoiled)) is None, f"byte {place}"
    for cut in range(len(data)):
        assert decode_segment_header(data[:cut]) is None


def test_another_format_version_is_refused_by_name() -> None:
    data = bytearray(encode_segment_header(HEADER))
    data[8] = 2

    with pytest.raises(JournalFormatError, match="format version 2, this server reads version 1"):
        decode_segment_header(bytes(data))
