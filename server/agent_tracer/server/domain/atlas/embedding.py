"""Traces as vectors, so that similar ones are found: hashed text with IDF, and the shape of the span tree.

Sources: feature hashing with signs (Weinberger and others 2009); inverse document frequency (Sparck Jones 1972), here
of hashed words, so that the table has a fixed size. No model and no download: the same trace gives the same vector on
every machine, by CRC-32, which unlike Python's hash() does not change between processes.
"""

import hashlib
import math
import re
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TEXT_DIMENSIONS: Final = 192
STRUCTURE_DIMENSIONS: Final = 192
DIMENSIONS: Final = TEXT_DIMENSIONS + STRUCTURE_DIMENSIONS

METHOD: Final = "hashed-text-structure-1"
"""Goes up with every change of what a trace is turned into: vectors of different methods must not be compared."""

IDF_SLOTS: Final = 1 << 16
"""Counters of the IDF table, 256 KiB: tens of thousands of words share few of them."""

TEXT_CHARACTERS_MAX: Final = 50_000
"""Of a trace's text: what more of it says, the first pages have said."""

SPANS_MAX: Final = 5_000
"""Of a trace's spans: a loop's later turns look like its first."""

_IDF_MIN: Final = 0.05
"""A word that every text has keeps a little weight, so that no text is without direction."""

_HEADER: Final = struct.Struct("<4sI")
_MAGIC: Final = b"IDF1"
_NUMBER: Final = re.compile(r"0x[0-9a-f]+|\b(?=[a-f]*[0-9])[0-9a-f]{8,}\b|[0-9]+", re.IGNORECASE)
_WORD: Final = re.compile(r"[^\W\d_]+|#")


@dataclass(frozen=True, slots=True)
class OutlineSpan:
    """A span as far as its trace's shape depends on it. `parent` is a position in the outline, -1 at a root."""

    parent: int
    kind: str
    name: str
    status: str
    duration_ms: float


@dataclass(frozen=True, slots=True)
class TraceOutline:
    """What a trace is embedded by: texts (operation, inputs, messages of errors), and its spans, parents first."""

    text: str
    spans: Sequence[OutlineSpan]


class IdfError(ValueError):
    """The bytes are no table that Idf.to_bytes made."""


@dataclass(frozen=True, eq=False)
class Idf:
    """In how many of `documents` texts each hashed word occurs. Frozen: an epoch of vectors is made with one table."""

    documents: int
    counts: "NDArray[np.uint32]"

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """Counts the words of the texts."""
        import numpy as np  # noqa: PLC0415 - start-up time

        counts, documents = np.zeros(IDF_SLOTS, np.uint32), 0
        for text in texts:
            documents += 1
            counts[list({_slot(word) for word in _words(text)})] += 1
        counts.flags.writeable = False
        return cls(documents, counts)

    def weight(self, word: str) -> float:
        """How much the word tells; 1 for every word where there are no documents."""
        if self.documents == 0:
            return 1.0
        return max(_IDF_MIN, math.log(self.documents / (1 + int(self.counts[_slot(word)]))))

    def to_bytes(self) -> bytes:
        """Some 10 to 100 kB."""
        return _HEADER.pack(_MAGIC, self.documents) + zlib.compress(self.counts.astype("<u4").tobytes())

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises IdfError where to_bytes did not make the data."""
        import numpy as np  # noqa: PLC0415 - start-up time

        try:
            magic, documents = _HEADER.unpack_from(data)
            counts = np.frombuffer(zlib.decompress(data[_HEADER.size :]), "<u4").astype(np.uint32)
        except (struct.error, zlib.error, ValueError) as error:
            raise IdfError("the IDF table cannot be read") from error
        if magic != _MAGIC or len(counts) != IDF_SLOTS:
            raise IdfError("the IDF table is of another version")
        counts.flags.writeable = False
        return cls(documents, counts)

    @cached_property
    def epoch(self) -> str:
        """A name of this table by its content."""
        digest = hashlib.blake2b(self.documents.to_bytes(8, "little"), digest_size=8)
        digest.update(self.counts.astype("<u4").tobytes())
        return digest.hexdigest()


def embedder_id(idf: Idf) -> str:
    """Stored with each vector: only vectors of one id can be compared."""
    return f"{METHOD}:{DIMENSIONS}:{idf.epoch}"


def embed(trace: TraceOutline, idf: Idf) -> "NDArray[np.float32]":
    """The trace as a vector of DIMENSIONS numbers and length 1; cosines of two of them lie between -1 and 1."""
    import numpy as np  # noqa: PLC0415 - start-up time

    words = Counter(_words(trace.text))
    text = _hashed({f"w{word}": count * idf.weight(word) for word, count in words.items()}, TEXT_DIMENSIONS)
    features = {f"s{feature}": 1 + math.log(count) for feature, count in _structure(trace.spans).items()}
    vector = np.concatenate([text, _hashed(features, STRUCTURE_DIMENSIONS)])
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def _words(text: str) -> list[str]:
    """Words without numbers and case, and pairs of neighbours."""
    plain = [word.lower() for word in _WORD.findall(_NUMBER.sub(" # ", text[:TEXT_CHARACTERS_MAX]))]
    return plain + [f"{one}~{other}" for one, other in pairwise(plain)]


def _slot(word: str) -> int:
    return zlib.crc32(word.encode()) % IDF_SLOTS


def _hashed(features: Mapping[str, float], dimensions: int) -> "NDArray[np.float64]":
    import numpy as np  # noqa: PLC0415 - start-up time

    vector = np.zeros(dimensions)
    for feature, weight in features.items():
        code = zlib.crc32(feature.encode())
        vector[code % dimensions] += weight if code >> 31 else -weight
    length = float(np.linalg.norm(vector))
    return vector / length if length else vector


def _structure(spans: Sequence[OutlineSpan]) -> Counter[str]:
    """Kinds, names and their paths and order, errors, durations by powers of two, and the tree's size and shape."""
    held = spans[:SPANS_MAX]
    names = [_NUMBER.sub("#", span.name) for span in held]
    features: Counter[str] = Counter()
    for span, name in zip(held, names, strict=True):
        features.update(_of_span(held, names, span, name))
        if span.status == "error":
            features[f"error:{span.kind}:{name}"] += 3  # an outcome says more than one more span
            features[f"error path:{_kind(held, span.parent)}>{span.kind}"] += 2
    features.update(f"next:{one}>{other}" for one, other in pairwise(names))
    features.update(_shape(held))
    return features


def _of_span(spans: Sequence[OutlineSpan], names: Sequence[str], span: OutlineSpan, name: str) -> list[str]:
    above = spans[span.parent].parent if span.parent >= 0 else -1
    path = f"{_kind(spans, span.parent)}>{span.kind}"
    features = [
        f"kind:{span.kind}",
        f"name:{name}",
        f"path:{path}",
        f"call:{names[span.parent] if span.parent >= 0 else ''}>{name}",
        f"took:{span.kind}:{_power(span.duration_ms)}",
    ]
    return [*features, f"long path:{_kind(spans, above)}>{path}"] if above >= 0 else features


def _shape(spans: Sequence[OutlineSpan]) -> list[str]:
    depths: list[int] = []
    for span in spans:
        depths.append(0 if span.parent < 0 else depths[span.parent] + 1)
    widest = max(Counter(span.parent for span in spans).values(), default=0)
    return [f"size:{_power(len(spans))}", f"depth:{max(depths, default=0)}", f"width:{_power(widest)}"]


def _kind(spans: Sequence[OutlineSpan], index: int) -> str:
    return spans[index].kind if index >= 0 else ""


def _power(value: float) -> int:
    return int(math.log2(max(0.0, value) + 1))
