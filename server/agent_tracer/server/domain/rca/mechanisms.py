"""By which mechanism a change of code can bring a symptom about."""

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Mechanism:
    """A symptom by its words, and what a diff must touch in order to bring it about."""

    name: str
    symptom: re.Pattern[str]
    diff: re.Pattern[str]


def _any(words: str) -> re.Pattern[str]:
    return re.compile(words, re.IGNORECASE)


MECHANISMS: Final = (
    Mechanism(
        "a race", _any("concurrent|data race|race condition|deadlock"), _any("lock|mutex|synchron|atomic|volatile")
    ),
    Mechanism(
        "what was required",
        _any("missing|required|not found|does not exist|no such|unknown|undefined|deserial|decode|schema"),
        _any(r"register|required|json:|field|rename|column|table|from \w+|key|env|schema|migrat"),
    ),
    Mechanism(
        "access",
        _any(r"\b40[13]\b|unauthori|forbidden|token|permission|denied|expired"),
        _any("verify|valid|leeway|skew|audience|scope|expir|role|allow|secret"),
    ),
    Mechanism(
        "waiting",
        _any(r"latency|slow|timeout|deadline|p9\d|duration"),
        _any("timeout|sleep|retry|deadline|for .*(query|get|fetch|find)|join|index|cache|limit|batch|ttl"),
    ),
    Mechanism(
        "connections",
        _any("pool|connection|too many open|socket|descriptor"),
        _any(r"pool|close\(|maxopen|max_?conn|maxidle|keep.?alive|release|defer"),
    ),
    Mechanism(
        "load",
        _any("cpu|throttl|saturat|queue|backlog|lag"),
        _any("for |loop|while|regex|compile|sort|worker|concurren|batch|parallel|goroutine|interval"),
    ),
    Mechanism(
        "limits",
        _any(r"rate.?limit|\b429\b|quota|too many requests|retry storm"),
        _any("limit|retry|backoff|jitter|quota|burst|interval"),
    ),
    Mechanism(
        "failing",
        _any("panic|nil|null|undefined|index out|exception|fatal|cannot read"),
        _any(r"nil|null|none|check|if |len\(|default|optional|\?\."),
    ),
)
"""What fails, in words of the symptom, and what a diff must touch in order to bring it about."""
