"""Whether one call can have used what another put out, judged by the recorded texts."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from agent_tracer.server.domain.atlas.workflow import WorkSpan

TEXT_CHARACTERS_MAX: Final = 20_000
"""Longer texts count as not recorded: looking for every word of a long context in another one finds one by chance."""

CONSTANT_RUNS_MIN: Final = 10
"""A word in every one of so many inputs of a stage is part of its form (a JSON key, an instruction), no data."""

_WORD: Final = re.compile(r"[\u2e80-\uffff]|[^\W\u2e80-\uffff]+")
"""Scripts that put no space between words count by the character."""


def _listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FUNCTION_WORDS: Final = _listed(
    """a an and are as at be by can do for from has have he her his i if in is it its me my no not of on or our she so
    that the their them then there they this to us was we were will with you your null none true false"""
)

_WRITING_VERBS: Final = _listed(
    """add approve book buy cancel checkout commit create delete deploy drop edit execute exec insert merge modify move
    order pay post publish purchase push put refund remove rename replace reserve run save send set submit transfer
    update upload upsert write"""
)
"""A stage that is called by one of these may change something: its order and its repetition are left alone."""

_READING_VERBS: Final = _listed(
    "check count describe fetch find get list load lookup query read retrieve search select show"
)
"""Where one of these comes first, the rest of the name says what is read."""


_REPEATING_KINDS: Final = frozenset({"tool", "retriever", "embedding", "reranker"})


@lru_cache(maxsize=512)  # siblings are compared with each other, each text many times
def words(text: str) -> frozenset[str]:
    """The words that can carry data from one call to the next, in lower case."""
    return frozenset(word for word in _WORD.findall(text.lower()) if word not in _FUNCTION_WORDS)


def writes(stage: str) -> bool:
    """Whether the stage's name says that it changes something."""
    operation = stage.rpartition("/")[2]
    parts = [part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", operation)]
    return parts[:1] != [] and parts[0] not in _READING_VERBS and not _WRITING_VERBS.isdisjoint(parts)


def constant_words(runs: Sequence[WorkSpan]) -> frozenset[str]:
    """Words in each of the runs' inputs; none where there are too few runs to tell, or one has no input."""
    if len(runs) < CONSTANT_RUNS_MIN:
        return frozenset()
    common = words(runs[0].input)
    for run in runs:
        common &= words(run.input[:TEXT_CHARACTERS_MAX])
        if not common:
            break
    return common


def may_use(
    later: WorkSpan, earlier: WorkSpan, later_constant: frozenset[str], earlier_constant: frozenset[str]
) -> bool:
    """Whether `later` may depend on what `earlier` put out. Sure only to say no: in doubt it is yes.

    It may where a word of the output is in the input, other than words of the input's form, or is the later tool's
    name: then it was asked for. A word that a tool only repeated from its own input does not count, as long as all of
    that input's data are in the later one's too: both were given the same. (Where some are not, the tool may have made
    the choice; and a model's answer always is one.)
    """
    known = (earlier.output, later.input)
    if earlier.failed or not all(known) or any(len(text) > TEXT_CHARACTERS_MAX for text in known):
        return True
    put_out, received = words(earlier.output), words(later.input)
    passed = (put_out & received) - later_constant
    given = words(earlier.input) - earlier_constant
    if given and given <= received and earlier.kind in _REPEATING_KINDS:
        passed -= given
    return bool(passed) or not put_out.isdisjoint(words(later.tool_name or later.name))
