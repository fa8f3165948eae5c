"""What a step's words say about it: an error, a doubt, an assumption, work, a report of success."""

import re
from typing import Final

HEAD_CHARACTERS: Final = 4_000
"""Of a text and of its end: where errors and verdicts stand. A page quoted in between has words of its own."""

_ERRORS: Final = tuple(
    (words, re.compile(pattern, re.IGNORECASE | re.MULTILINE))
    for words, pattern in (
        (("traceback (most recent",), r"traceback \(most recent"),
        (("error",), r"^\s*error\b"),
        (("error", "exception"), r"(?<=\w)(?:error|exception)\s*:"),
        (("exit",), r"exit ?(?:code|status):? *[1-9]"),
        ((" failed",), r"\b(?:execution|request|call|command|tool|script) failed\b"),
        (("fatal:", "panic:"), r"\b(?:fatal|panic):"),
        (("segmentation fault",), r"segmentation fault"),
        (("status", "code"), r"\b(?:http )?(?:status|code):? *[45]\d\d\b"),
        (("timed out", "permission denied"), r"\b(?:timed out|permission denied)\b"),
        (("command not found", "no such file"), r"command not found|no such file"),
        (("filter",), r"content[ _-]?filter"),
    )
)
"""Looked for only where one of its words is there: all of them at each letter take a millisecond for a long text."""

_DOUBT: Final = re.compile(
    r"\b(?:sorry|apologi[sz]e|apologies|unfortunately|unable to|not able to|couldn'?t|could not|cannot|can'?t|failed to"
    r"|seems? (?:that )?(?:there|the)|it (?:seems|appears)|not (?:possible|available|accessible|found)"
    r"|no (?:access|results?)|difficult|issues? with|encountered|i don'?t have"
    r"|does not (?:seem|appear|contain|include))\b",
    re.IGNORECASE,
)
_ASSUMPTION: Final = re.compile(
    r"\b(?:assum\w+|placeholders?|hypothetical\w*|mock\w*|simulat\w+|dummy|for example|such as|example (?:data|values?)"
    r"|sample (?:data|values?)|manual(?:ly)?|approximat\w+|estimat\w+|likely|probably|presum\w+|typically|generally"
    r"|known|replace with|your[_ ](?:api|actual)\w*)\b",
    re.IGNORECASE,
)
_WORK: Final = re.compile(r"```|\bdef \w+\(|\bimport \w+|\bselect\b.{1,200}\bfrom\b|\bhttps?://", re.IGNORECASE)
_DONE: Final = re.compile(
    r"\b(?:terminate|final answer|in conclusion|conclud\w+|therefore|task (?:is )?(?:complete|done|solved)"
    r"|has been (?:successfully )?\w+ed|verified|confirmed|the (?:answer|result) is)\b",
    re.IGNORECASE,
)
_OBJECTION: Final = re.compile(
    r"^\W*(?:no\b|but\b|wait\b|actually\b|that'?s (?:not|wrong)|i (?:only|didn'?t|did not|don'?t)\b|not what)"
    r"|\b(?:i only wanted|not what i|incorrect|wrong|instead|mistake)\b",
    re.IGNORECASE,
)


def has_error(text: str) -> bool:
    """Whether the beginning or end of the text reports an error of a program, request or tool."""
    return _error(ends(text)) is not None


def error_line(text: str) -> str:
    """The first line that reports an error; "" where none does."""
    found = _error(text[:HEAD_CHARACTERS]) or _error(text[-HEAD_CHARACTERS:])
    if found is None:
        return ""
    begin = found.string.rfind("\n", 0, found.end()) + 1
    return found.string[begin:].partition("\n")[0].strip()


def _error(text: str) -> re.Match[str] | None:
    """The first place that reports an error."""
    lowered = text.lower()
    found = (pattern.search(text) for words, pattern in _ERRORS if any(word in lowered for word in words))
    return min((one for one in found if one is not None), key=lambda one: one.start(), default=None)


def doubts(text: str) -> int:
    """Words of apology, doubt and missing access."""
    return len(_DOUBT.findall(ends(text)))


def assumptions(text: str) -> int:
    """Words that put an assumption, an example or an estimate in the place of data."""
    return len(_ASSUMPTION.findall(ends(text)))


def works(text: str) -> bool:
    """Whether the text has code, a query or an address: it does something instead of talking of it."""
    return _WORK.search(text) is not None


def concludes(text: str) -> bool:
    """Whether the text reports a result as final."""
    return _DONE.search(ends(text)) is not None


def objects(text: str) -> bool:
    """Whether the text, as an answer, says that what came before it was wrong."""
    return _OBJECTION.search(text[:HEAD_CHARACTERS]) is not None


def ends(text: str) -> str:
    """Beginning and end of a text."""
    return text if len(text) <= 2 * HEAD_CHARACTERS else f"{text[:HEAD_CHARACTERS]}\n{text[-HEAD_CHARACTERS:]}"
