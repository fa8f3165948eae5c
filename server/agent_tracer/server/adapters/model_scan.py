"""Which models and providers OTLP trace requests name, found in their bytes without decoding them.

Prices are looked up once for each new (provider, model), so the loader must know the names before the engine
reads the requests. One regular expression for all keys takes 1.5 ns a byte, `bytes.find` 0.4 to 1 for each
key; this scan takes 0.3 for all of them.

In the canonical encoding a text attribute is `KeyValue{key=1, value=2: AnyValue{string_value=1}}`, the bytes
0x0a keylen key 0x12 anylen 0x0a length value. So each key makes a fixed run, 0x0a keylen key 0x12, of 13
bytes or more. Of the run's 8 last pieces of 6 bytes exactly one begins at a multiple of eight, wherever the
run lies. So the scan looks only at the words that begin at multiples of eight: where the hash of a word's
first 6 bytes is that of such a piece, the key's end is at a known distance, and what stands there decides.

The OpenTelemetry Collector writes the fields of a message from the last to the first: `0x12 anylen 0x0a length
value 0x0a keylen key`, and after the key what comes before attributes. Where no 0x12 follows a key, its value is
looked for before it.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from agent_tracer.server.domain.semantics import COLUMNS
from agent_tracer.server.limits import MODEL_NAME_BYTES_MAX

_ATTRIBUTES: Final = {column.name: column.attributes for column in COLUMNS}
_OLDER_MODEL_KEYS: Final = ("llm.request.model", "llm.response.model")
MODEL_KEYS: Final = tuple(dict.fromkeys((*_ATTRIBUTES["model"], *_ATTRIBUTES["response_model"], *_OLDER_MODEL_KEYS)))
PROVIDER_KEYS: Final = _ATTRIBUTES["provider"]

_STRIDE: Final = 8
_PIECE: Final = 6
_TAIL: Final = 10
"""How much of a key's end is compared after the search: the length of the shortest key, llm.system."""
_HASH_BITS: Final = 16
"""Few enough that the table stays in the cache, many enough that chance hits are rare (one word in 800)."""
_CHUNK_WORDS: Final = 1 << 15
"""Words hashed at a time: 256 KiB, which stays in the second-level cache."""
_WORD_MASK: Final = (1 << 64) - 1
_MULTIPLIER: Final = 0x9E37_79B9_7F4A_7C15
"""2^64 over the golden ratio, made odd: multiplicative hashing (Knuth, TAOCP volume 3, 6.4)."""
_NOWHERE: Final = 1 << 62

_KEY_END: Final = 0x12
_ENDS_OF_LAST_KEYS: Final = bytes((_KEY_END, 0x4A, 0x41, 0x39, 0x0A, 0x1A, 0x09))
"""What may follow a key: its value, or, written last, a span's next attribute, its end or start time, an attribute of
a resource, or of an event, or the event's time. The word that holds a key's last five bytes needs to know."""
_STRING_TAG: Final = 0x0A
_KEY_AT: Final = 2
"""From a field's start to its key: tag, length."""
_VALUE_AT: Final = 4
"""From the key's end to the value: tag, the AnyValue's length, tag, the text's length."""
_VALUE_TAGS: Final = bytes((_KEY_END, 0, _STRING_TAG, 0))
"""What stands between a key and its value; nobody asks for the lengths."""
_TWO_BYTE_LENGTH: Final = 7
"""The bit of a varint's first byte that says that another follows."""


Octets = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]


class ScannedNames(NamedTuple):
    """Every value of a model attribute, and of a provider attribute. Which go together is not told."""

    models: frozenset[str]
    providers: frozenset[str]


def scan_models(payload: bytes) -> ScannedNames:
    """Values of MODEL_KEYS and PROVIDER_KEYS in serialised ExportTraceServiceRequests, one after another.

    Finds every value of 1 to MODEL_NAME_BYTES_MAX bytes in the canonical encoding (fields in the order of
    their numbers, shortest varints: what protobuf libraries write), and in its reverse. Text that merely looks
    like such an attribute is returned too. Never raises. A call costs some 30 us, 0.3 ns a byte and 0.2 us an
    attribute found: join small requests before it.
    """
    found: dict[str, set[str]] = {"models": set(), "providers": set()}
    for field in _SEARCH.fields(payload):
        names = _NAMES_BY_TAIL.get(field[:_TAIL])
        if names is not None:
            value_at = _TAIL + _VALUE_AT + (field[_TAIL + 1] >> _TWO_BYTE_LENGTH)
            found[names].add(field[value_at:].decode(errors="ignore"))
    return ScannedNames(**{names: frozenset(values - {""}) for names, values in found.items()})


def _pieces(keys: Iterable[str]) -> dict[int, list[int]]:
    """Each piece, as a little-endian number, to the distances from its start to the ends of keys it is in."""
    pieces: dict[int, list[int]] = {}
    for key in keys:
        runs = (_field_start(key) + bytes([end]) for end in _ENDS_OF_LAST_KEYS)
        for run, distance in product(runs, range(_PIECE - 1, _PIECE - 1 + _STRIDE)):
            start = len(run) - 1 - distance
            distances = pieces.setdefault(int.from_bytes(run[start : start + _PIECE], "little"), [])
            if distance not in distances:
                distances.append(distance)
    return pieces


def _field_start(key: str) -> bytes:
    return b"\n" + bytes([len(key)]) + key.encode()


def _names_by_tail(keys_by_names: Mapping[str, Iterable[str]]) -> dict[bytes, str]:
    """A key's last bytes to the field of ScannedNames that its value belongs to."""
    tails: dict[bytes, str] = {}
    for names, keys in keys_by_names.items():
        for key in keys:
            if len(key) < _TAIL or tails.setdefault(key.encode()[-_TAIL:], names) != names:
                message = f"attribute key {key!r} is too short, or ends too much like another, to be scanned for"
                raise ValueError(message)
    return tails


class _Search:
    """Finds the short text attributes whose keys end like one of the given."""

    def __init__(self, pieces: Mapping[int, list[int]]) -> None:
        # Shifted, so that the product drops the two bytes of a word that lie behind the piece.
        multiplier = _MULTIPLIER << (64 - 8 * _PIECE) & _WORD_MASK
        self._multiplier = np.uint64(multiplier)
        self._shift = np.uint64(64 - _HASH_BITS)
        by_hash: dict[int, list[int]] = {}
        for piece, distances in pieces.items():
            by_hash.setdefault((piece * multiplier & _WORD_MASK) >> (64 - _HASH_BITS), []).extend(distances)
        self._known = np.zeros(1 << _HASH_BITS, dtype=np.bool_)
        self._distances = np.full((1 << _HASH_BITS, max(map(len, by_hash.values()))), _NOWHERE, dtype=np.int64)
        for slot, distances in by_hash.items():
            self._known[slot] = True
            self._distances[slot, : len(distances)] = distances

    def fields(self, payload: bytes) -> set[bytes]:
        """The distinct fields, each from the key's last _TAIL bytes to the end of the value, key first."""
        octets = np.frombuffer(payload, dtype=np.uint8)
        ends = self._key_ends(np.frombuffer(payload, dtype="<u8", count=len(payload) // _STRIDE))
        ends = ends[(ends >= _TAIL) & (ends < len(octets) - _VALUE_AT)]
        followed_by = octets.take(ends)
        found = {payload[end - _TAIL : stop] for end, stop in _values_after(octets, ends[followed_by == _KEY_END])}
        for end, start, stop in _values_before(octets, ends[_IS_END_OF_LAST_KEY.take(followed_by)]):
            found.add(payload[end - _TAIL : end] + _VALUE_TAGS + payload[start:stop])
        return found

    def _key_ends(self, words: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """Where keys may end, in bytes, by the pieces that the words begin with."""
        hits = np.empty(len(words), dtype=np.bool_)
        scratch = np.empty(min(len(words), _CHUNK_WORDS), dtype=np.uint64)
        for first in range(0, len(words), _CHUNK_WORDS):
            chunk = words[first : first + _CHUNK_WORDS]
            hashes = np.multiply(chunk, self._multiplier, out=scratch[: len(chunk)])
            np.right_shift(hashes, self._shift, out=hashes)
            # No hash is out of range: "clip" only spares numpy a buffer.
            self._known.take(hashes.view(np.int64), out=hits[first : first + len(chunk)], mode="clip")
        places = np.flatnonzero(hits)
        hashes = np.right_shift(words.take(places) * self._multiplier, self._shift)
        distances = self._distances.take(hashes.view(np.int64), axis=0)
        ends: npt.NDArray[np.int64] = (distances + (places * _STRIDE)[:, np.newaxis]).ravel()
        return ends


def _values_after(octets: Octets, ends: Places) -> Iterable[tuple[int, int]]:
    """Of keys by their ends, those with a short text behind: the key's end, and where the text stops."""
    lengths_at = ends + (_VALUE_AT - 1) + (octets.take(ends + 1) >> _TWO_BYTE_LENGTH)
    lengths = octets.take(lengths_at)
    short = (lengths <= MODEL_NAME_BYTES_MAX) & (octets.take(lengths_at - 1) == _STRING_TAG)
    return zip(ends[short].tolist(), (lengths_at + 1 + lengths)[short].tolist(), strict=True)


def _values_before(octets: Octets, ends: Places) -> Iterator[tuple[int, int, int]]:
    """Of keys by their ends, those with a short text before: the key's end, and where the text starts and stops.

    Only the byte before a text tells its length, so each length is tried, with the keys that are left.
    """
    for key_length in _KEY_LENGTHS if len(ends) else ():
        starts_of_keys = ends - key_length - _KEY_AT
        is_key = (starts_of_keys > _VALUE_AT) & (octets.take(starts_of_keys, mode="clip") == _STRING_TAG)
        is_key &= octets.take(starts_of_keys + 1, mode="clip") == key_length
        own_ends, stops = ends[is_key], starts_of_keys[is_key]
        for length in range(1, MODEL_NAME_BYTES_MAX + 1):
            if not len(stops):
                break
            starts = stops - length
            is_value = (starts >= _VALUE_AT) & (octets.take(starts - 1, mode="clip") == length)
            is_value &= octets.take(starts - 2, mode="clip") == _STRING_TAG
            places = (own_ends[is_value], starts[is_value], stops[is_value])
            yield from zip(*(place.tolist() for place in places), strict=True)
            own_ends, stops = own_ends[~is_value], stops[~is_value]


_NAMES_BY_TAIL: Final = _names_by_tail({"models": MODEL_KEYS, "providers": PROVIDER_KEYS})
_IS_END_OF_LAST_KEY: Final = np.isin(np.arange(256), list(_ENDS_OF_LAST_KEYS[1:]))
_KEY_LENGTHS: Final = sorted({len(key) for key in (*MODEL_KEYS, *PROVIDER_KEYS)})
_SEARCH: Final = _Search(_pieces((*MODEL_KEYS, *PROVIDER_KEYS)))
