"""Messages without what differs between two occurrences of one failure: numbers, ids, paths, quotes, addresses, times.

Numbers and ids have one mask, since an id may by chance be all digits; a word with a digit in it counts as an id.

The template of a message is a pure function of the message. A log miner that learns its templates (Drain: He and others
2017) would find as good ones, but which ones depends on what it saw before and in which order; a group's id has to be
the same after a restart, on another server, and when new data come.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

MESSAGE_CHARACTERS_MAX: Final = 2_000
"""Of a message, before masking: what it says first, it is about."""

TEMPLATE_CHARACTERS_MAX: Final = 300
"""Long enough for a sentence and its cause; longer ones differ at their ends for no reason that matters."""


def _quoted(*pairs: str) -> str:
    """Text between the signs of any pair, on one line."""
    return "|".join(f"{pair[0]}[^{pair[1]}\\n]{{0,400}}{pair[1]}" for pair in pairs)


_MASKS: Final[Sequence[tuple[re.Pattern[str], str]]] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.ASCII if mask == "<value>" else re.IGNORECASE), mask)
    for pattern, mask in (
        (r"\x1b\[[0-9;]*[a-z]", ""),
        (r"\b[a-z][a-z0-9+.-]{1,15}://[^\s\"'<>|]+", "<url>"),
        (r"\bdata:[a-z]+/[^\s,]+,[^\s\"']+", "<url>"),
        (r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+", "<email>"),
        (r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?(?![\w.]*\d)", "<address>"),
        (r"\b\d{4}-\d\d-\d\d(?:[t ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)?(?: ?z\b| ?[+-]\d\d:?\d\d\b)?", "<time>"),
        (r"\b(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,? \d{1,2} [a-z]{3,9} \d{4}(?: \d\d:\d\d(?::\d\d)?)?", "<time>"),
        (r"(?<![\w.])\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?[ap]m\b)?", "<time>"),
        (r"\b\d{1,2}/\d{1,2}/\d{2,4}\b", "<time>"),
        (_quoted('""', "``", "\u201c\u201d", "\u00ab\u00bb", "\u300c\u300d"), "<text>"),
        (r"(?<!\w)'[^'\n]{0,400}'(?!\w)", "<text>"),
        (r"(?<![\w/])(?:~|\.{1,2})?/(?:[\w.@%+~-]+/?)+|\b[a-z]:\\[^\s\"']+", "<path>"),
        (
            r"\b[\w-]+(?:/[\w.-]+)+\.\w{1,6}\b|\b[\w-]+\.(?:py|js|ts|go|java|rs|rb|json|csv|txt|pdf|xlsx?|ya?ml|sh)\b",
            "<path>",
        ),
        (r"(?<![a-z0-9_<])[#$]?[+-]?\d[\d.,_]*\d(?:e[+-]?\d+)?(?![a-z0-9_-])", "<value>"),
        (r"(?<![a-z0-9_<])[#$]?(?=[a-z_-]*\d)[a-z0-9_-]+", "<value>"),
        (r"\d+", "<value>"),
    )
)
_SPACE: Final = re.compile(r"\s+")
_LIST: Final = re.compile(r"(<(\w+)>)(?:(?:\s*[,;/|.:]?\s*)<\2>)+")
_BRACKETS: Final = re.compile(r"\[(?:<\w+>|[\s,;:])*\]|\{(?:<\w+>|[\s,;:])*\}")


def template(message: str) -> str:
    """The message with its variable parts masked, on one line, at most TEMPLATE_CHARACTERS_MAX characters.

    Several masks of a kind in a row are one, so that a list's length does not matter.
    """
    text = unicodedata.normalize("NFKC", message[:MESSAGE_CHARACTERS_MAX])
    for pattern, mask in _MASKS:
        text = pattern.sub(mask, text)
    text = _BRACKETS.sub("<text>", _LIST.sub(r"\1", text))
    text = "".join(sign if unicodedata.category(sign)[0] != "C" else " " for sign in text)
    return _SPACE.sub(" ", text).strip()[:TEMPLATE_CHARACTERS_MAX].rstrip()
