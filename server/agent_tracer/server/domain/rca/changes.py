"""Which change explains the symptom: what its diff can do, what failing logs name, when and where it went live."""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from agent_tracer.server import limits
from agent_tracer.server.domain.rca.exposure import totals
from agent_tracer.server.domain.rca.mechanisms import MECHANISMS
from agent_tracer.server.domain.rca.view import WARNING_SEVERITY, Change, IncidentView

EXPLAINS_MIN: Final = 2.5
"""Score under which a change is only near in time: then none is named."""

LEAD_MIN: Final = 0.25
"""By which the first change must lead over the second to be named."""

LIKELIHOOD_MAX: Final = 0.9
"""Reading diffs is guessing: of the best guesses one in ten is taken to be wrong."""

LIVE_ADVICE: Final = "Compare {component} with how it was before {change}: it went live shortly before the alert."
"""Of a change that nothing but its time speaks for."""

WORD_CHARACTERS_MIN: Final = 3

_WORD: Final = re.compile(r"[A-Za-z][a-z]+|[A-Z]+(?![a-z])|\d{3,}")
_INERT_FILES: Final = re.compile(
    r"\.(md|txt|css|scss|svg|png|rst)$|(^|/)(docs?|tests?|__tests__)/|_test\.|\.test\.|theme|codeowners|changelog|\.github/",
    re.IGNORECASE,
)
_OBSERVING: Final = re.compile(r"\blog(ger|ging)?\b|print|metric|counter|histogram|gauge|span\.", re.IGNORECASE)
"""Lines that only tell: whether they stand there or not changes nothing that fails."""

_DEPENDENCY_FILES: Final = re.compile(r"go\.(mod|sum)$|lock$|-lock\.|requirements.*\.txt$|package\.json$|pom\.xml$")
_SHARED_FILES: Final = re.compile(r"(^|/)(pkg|libs?|shared|common|schemas?|proto|internal|config)/", re.IGNORECASE)

_OUTSIDE: Final = re.compile(
    r"certificate has expired|notafter|cert\w*.expir|x509|serviceunavailable|slowdown|region|provider|status page"
    r"|no space left|hardware|node (lost|not ready)|spot|preempt",
    re.IGNORECASE,
)
"""Symptoms of causes that no change of code brings about, unless its diff is about that very thing."""

OUTSIDE_MIN: Final = 4.0
"""Added to `EXPLAINS_MIN` for them."""

_DECLARATION: Final = re.compile(r"(var|let|const|type|public|private)\b[^=(]*$")
_LITERAL: Final = re.compile(r"""["'`]([\w.-]+)""")

_STOP: Final = frozenset(
    re.findall(
        r"\w+",
        "the and for with from this that not was were are has have into func return string error err service svc log "
        "info warn none null true false self new get set var const type import package context http request response",
    )
)
_GROWTH: Final = re.compile(r"append\(|\.push\(|\.add\(|\[\w+\]\s*=|\+=|cache|buffer", re.IGNORECASE)
_BOUNDED: Final = re.compile(r"max|limit|cap\b|evict|ttl|lru|pool|trim|prealloc|reset", re.IGNORECASE)
_MEMORY: Final = re.compile(r"mem|oom|rss|heap", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Suspect:
    """A change with its score, and what the score rests on in words."""

    change: Change
    score: float
    reason: str


@dataclass(frozen=True, slots=True)
class Symptom:
    """What failing logs and the alert say, its words, and where a change could show as it."""

    alert: str
    told: str
    words: frozenset[str]
    near: Collection[str]

    @property
    def outside(self) -> bool:
        """It tells of something that no change of code brings about."""
        return bool(_OUTSIDE.search(self.told))


@dataclass(frozen=True, slots=True)
class Reading:
    """A change's diff, read: lines gone and come on balance, and words of which there is more or less after it."""

    change: Change
    gone: Sequence[str]
    come: Sequence[str]
    lost: frozenset[str]
    altered: frozenset[str]


def culprit(view: IncidentView, near: Collection[str], onset_ns: int) -> Suspect | None:
    """The change that explains the symptom, or None where none does, or two do equally well."""
    symptom = _symptom(view, near)
    found = suspects(view.changes, symptom, onset_ns)
    if not found or found[0].score < EXPLAINS_MIN + OUTSIDE_MIN * symptom.outside:
        return None
    return None if len(found) > 1 and found[0].score - found[1].score < LEAD_MIN else found[0]


def went_live(view: IncidentView, component: str) -> Change | None:
    """The last change that went live in the component within RCA_CHANGE_NEAR_SECONDS before the incident."""
    end_ns = view.incident.start_ns
    since_ns = end_ns - limits.RCA_CHANGE_NEAR_SECONDS * 1_000_000_000
    live = [each for each in view.changes if component in each.components and since_ns <= each.time_ns <= end_ns]
    return max(live, key=lambda each: (each.time_ns, each.change_id), default=None)


def named(change: Change) -> str:
    """Its kind, id and title."""
    title = change.text.splitlines()[0][:80] if change.text else ""
    return f"{change.kind} {change.change_id} ({title})" if title else f"{change.kind} {change.change_id}"


def suspects(changes: Sequence[Change], symptom: Symptom, onset_ns: int) -> list[Suspect]:
    """Changes live before the onset, best explanation first."""
    live = [change for change in changes if change.time_ns <= onset_ns]
    spread = Counter(word for change in live for word in set(_words(_text(change))))
    deployed = any(change.components for change in live)
    found = [_judged(_read(change), symptom, spread, len(live), deployed=deployed) for change in live]
    return sorted(found, key=lambda suspect: (-suspect.score, -suspect.change.time_ns, suspect.change.change_id))


def likelihood(suspect: Suspect) -> float:
    """That the change is the cause: a half at the least score that is named, never quite sure."""
    return 1 / (1 + math.exp(EXPLAINS_MIN - suspect.score)) * LIKELIHOOD_MAX


def _symptom(view: IncidentView, near: Collection[str]) -> Symptom:
    texts = [view.incident.text, view.incident.metric]
    for log in view.logs:
        before, during = totals(log.counts)
        if log.severity >= WARNING_SEVERITY and during > before:
            texts.append(log.template)
    told = " ".join(texts)[: limits.RCA_DIFF_CHARACTERS_MAX]
    return Symptom(f"{view.incident.metric} {view.incident.text}", told, frozenset(_words(told)), near)


def _words(text: str) -> Counter[str]:
    """Lower-case words of identifiers and prose, plural endings off."""
    found = (word.lower() for word in _WORD.findall(text))
    return Counter(word.removesuffix("s") for word in found if len(word) >= WORD_CHARACTERS_MIN and word not in _STOP)


def _text(change: Change) -> str:
    return f"{change.text} {' '.join(change.files)} {change.diff[: limits.RCA_DIFF_CHARACTERS_MAX]}"


def _read(change: Change) -> Reading:
    gone, come = _net(change.diff[: limits.RCA_DIFF_CHARACTERS_MAX])
    before, after = _words(" ".join(gone)), _words(" ".join(come))
    lost = frozenset(before - after)
    return Reading(change, gone, come, lost, lost | frozenset(after - before))


def _judged(reading: Reading, symptom: Symptom, spread: Counter[str], count: int, *, deployed: bool) -> Suspect:
    change = reading.change
    points = [*_naming(reading, symptom, spread, count), *_doing(reading, symptom)]
    if not (reading.gone or reading.come) or all(_INERT_FILES.search(path) for path in change.files or ("",)):
        points.append((-3.0, ""))
    if any(name in symptom.near for name in change.components):
        points.append((1.0, f"it went live in {', '.join(change.components)}"))
    elif deployed and not change.components:
        points.append((-1.0, ""))
    if any(_SHARED_FILES.search(path) for path in change.files):
        points.append((0.5, ""))
    return Suspect(change, sum(score for score, _ in points), "; ".join(said for _, said in points if said))


def _naming(reading: Reading, symptom: Symptom, spread: Counter[str], count: int) -> Iterator[tuple[float, str]]:
    """Points for what the diff and the failing logs both name; a word that few changes have counts for more."""
    files = reading.change.files or ("",)
    named = {word: math.log(1 + count / spread[word]) for word in reading.altered & symptom.words}
    if named and not all(_DEPENDENCY_FILES.search(path) for path in files):
        telling = sorted(named, key=lambda word: (-named[word], word))
        yield sum(named[word] for word in telling[:3]) / 2, f"its diff names what fails ({', '.join(telling[:4])})"
    renamed = (set(_literals(reading.gone)) - set(_literals(reading.come))) & symptom.words
    if renamed:
        yield 1.0, f"it no longer says {', '.join(sorted(renamed))}, which is asked for"
    touched = sorted({name for name in (path.rsplit("/", 1)[-1] for path in files) if name and name in symptom.told})
    if touched:
        yield 2.0, f"failing logs name {', '.join(touched)}, which it touches"


def _doing(reading: Reading, symptom: Symptom) -> Iterator[tuple[float, str]]:
    """Points for what the diff can bring about."""
    mechanisms = [
        each.name
        for each in MECHANISMS
        if each.symptom.search(symptom.told) and _touched(each.diff, reading.gone, reading.come)
    ]
    if mechanisms:
        yield 1.0 + 0.5 * min(len(mechanisms), 2), f"it touches {' and '.join(mechanisms)}"
    taken = [line for line in reading.gone if set(_words(line)) & reading.lost and not _DECLARATION.match(line)]
    if taken:
        yield 1.0, "it takes away " + min(taken, key=len)[:80]
    if _MEMORY.search(symptom.alert) and _grows(reading.come):
        yield 2.5, "what it adds grows with each call"


def _net(diff: str) -> tuple[list[str], list[str]]:
    """Lines gone and lines come, without those that only moved, comment or observe."""
    lines = diff.splitlines()
    gone, come = (Counter(_lines([line[1:] for line in lines if line.startswith(sign)])) for sign in "-+")
    return list((gone - come).elements()), list((come - gone).elements())


def _touched(pattern: re.Pattern[str], gone: Sequence[str], come: Sequence[str]) -> bool:
    """What the pattern names was there more or less often before: a line that was only laid out anew does not count."""
    before, after = (
        Counter(match.lower() for line in lines for match in _hits(pattern, line)) for lines in (gone, come)
    )
    return before != after


def _literals(lines: Sequence[str]) -> list[str]:
    """Words that stand first in a quoted text: names of keys, columns, settings."""
    return [word for line in lines for text in _LITERAL.findall(line) for word in _words(text)]


def _hits(pattern: re.Pattern[str], line: str) -> list[str]:
    return [match.group() for match in pattern.finditer(line)]


def _lines(lines: Sequence[str]) -> list[str]:
    """Without indentation and comments: code that only moved cancels out."""
    bare = (line.strip() for line in lines)
    marks = ("#", "//", "/*", "*", "import ", "--", "++", "@@")
    return [line for line in bare if line and not line.startswith(marks) and not _OBSERVING.search(line)]


def _grows(added: Sequence[str]) -> bool:
    text = "\n".join(added)
    return bool(_GROWTH.search(text)) and not _BOUNDED.search(text)
