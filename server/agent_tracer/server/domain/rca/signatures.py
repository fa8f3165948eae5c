"""Fault signatures: what kinds of evidence make which issue, and what to do about it. A table; the first best fits."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.domain.rca.evidence import Evidence

STRENGTH_MIN: Final = 0.7
"""Below it evidence, though it may count, is not worth naming an issue after."""


@dataclass(frozen=True, slots=True)
class Signature:
    """Evidence of the `features` (beginnings of their names) whose subject matches `words` speaks for it.

    `issue` and `advice` are templates of {component}, {subject}, {figures}, {change} and {dependency}.
    `weight`: a telling word outweighs a general measure.
    """

    name: str
    issue: str
    advice: Sequence[str]
    features: tuple[str, ...]
    words: str = ""
    weight: float = 1.0


DEPENDENCY_DOWN: Final = "dependency_down"
"""The one that tells of another component than its own."""

_LOGS: Final = ("log_error", "log_more", "alarm_log")

SIGNATURES: Final = (
    Signature(
        name="rate_limit",
        issue="{component} is refused by a rate limit: {figures}",
        advice=(
            ("Ask for a higher quota, or spread the calls of {component}: wait as retry-after says, with jitter."),
        ),
        features=(
            *_LOGS,
            "metric_error",
        ),
        words=(
            r"rate.?limit\w* (exceed|reach|hit)|rate.?limited|too many requests|\b429\b"
            r"|(?<!disk )(?<!storage )quota exceed|throttled"
        ),
        weight=2.0,
    ),
    Signature(
        name="context_overflow",
        issue="Prompts of {component} exceed the model's context: {figures}",
        advice=(("Shorten or summarise the history that {component} sends, or take a model with a larger context."),),
        features=_LOGS,
        words="context.?(length|window)|maximum context|max_?tokens|prompt is too long",
        weight=2.0,
    ),
    Signature(
        name="model_regression",
        issue="The model that {component} uses answers worse than before: {figures}",
        advice=(("Pin {component} to the model version before, and compare both versions on its recorded tasks."),),
        features=(
            *_LOGS,
            "metric_error",
        ),
        words=(
            r"model.*(not found|deprecat|regress)|invalid json.*model|refusal|hallucinat"
            r"|\b(answer|response|output|eval|judge|faithful)\w*.{0,40}(quality|score)"
            r"|\b(quality|scores?)\b.{0,20}(below|under|dropp|fell)"
        ),
        weight=1.8,
    ),
    Signature(
        name="tool_failure",
        issue="A tool that {component} calls fails: {figures}",
        advice=(
            ("Call the tool by itself with the recorded arguments; give {component} a fallback for when it fails."),
        ),
        features=_LOGS,
        words=r"\btool\b.*(fail|error|not found|invalid)|tool_call|function.?call",
        weight=1.9,
    ),
    Signature(
        name="loop",
        issue="{component} repeats itself without getting on: {figures}",
        advice=(("Bound the number of steps of {component}, and stop when a call is repeated with equal arguments."),),
        features=_LOGS,
        words=(
            r"max.?(iterations|steps|turns)|recursion limit|infinite loop"
            r"|repeat\w* (itself|the same|calls?|steps?|actions?|tools?)\b"
        ),
        weight=1.9,
    ),
    Signature(
        name="bad_hand_off",
        issue="{component} hands over to the wrong agent, or with too little: {figures}",
        advice=(
            (
                "Check what {component} passes on: the receiving agent needs the task, the constraints and "
                "the results so far."
            ),
        ),
        features=_LOGS,
        words=r"hand.?off|transfer.?to.{0,30}agent|delegat\w* (to|task)|unknown agent|no agent\b",
        weight=1.9,
    ),
    Signature(
        name="connection_pool",
        issue="{component} runs out of connections: {figures}",
        advice=(
            (
                "Raise the pool of {component}, or find the caller that keeps its connections: look for "
                "slow queries and missing closes."
            ),
        ),
        features=(
            *_LOGS,
            "metric_pool",
            "metric_error",
        ),
        words=(
            r"(?<![a-z])pool|connection.?pool|too many connections"
            r"|connection.*(exhaust|acquire|limit)|acquire.*connection"
        ),
        weight=1.8,
    ),
    Signature(
        name="slow_query",
        issue="A query behind {component} has become slow: {figures}",
        advice=(("Take the plan of the slow statement; look for a missing index, a lock, or data that has grown."),),
        features=(
            *_LOGS,
            "self_time",
            "own_excess",
        ),
        words="slow query|deadlock|lock wait|statement timeout|query (took|exceeded|time)",
        weight=1.5,
    ),
    Signature(
        name="certificate",
        issue="A certificate that {component} depends on is not valid: {figures}",
        advice=("Renew the certificate that {component} meets and reload whoever serves it; alert on the days left.",),
        features=(
            *_LOGS,
            "metric",
        ),
        words=(
            r"x509|\btls\b|\bssl\b|handshake|cert_|\b(peer|server|client|root|ca) certificate"
            r"|certificate.{0,60}(expir|valid|verif|trust|sign|chain|revok|unknown)"
            r"|(expir|invalid|verif|untrusted|self.signed|revoked).{0,40}certificate"
        ),
        weight=2.2,
    ),
    Signature(
        name=DEPENDENCY_DOWN,
        issue="{component} cannot reach {dependency}: {figures}",
        advice=(("Check that the dependency runs and resolves from {component}; until then fail fast or fall back."),),
        features=(
            *_LOGS,
            "metric_error",
            "alarm_error",
        ),
        words=(
            r"(connect|dial|host|port|peer)\w*\b.{0,80}refused|refused.{0,40}connect|unreachable|no such host"
            r"|unavailable|\b503\b|upstream|reset by peer|econn|dns"
        ),
        weight=1.4,
    ),
    Signature(
        name="memory",
        issue="{component} runs out of memory: {figures}",
        advice=(
            (
                "Compare heap profiles of {component} before and during; until it is found, raise its "
                "limit or restart it in turn."
            ),
        ),
        features=(
            "metric_memory",
            "alarm_metric_memory",
            "metric_error",
            "log_error",
        ),
        words=(
            r"memory|(?<!c)heap|(?<![a-z])"
            r"(mem(?![a-z])|mem(use|free|avail|total|cache)|rss(?![a-z])|oom|swap\b|gc(?![a-z]))"
        ),
        weight=1.2,
    ),
    Signature(
        name="cpu",
        issue="{component} is short of CPU: {figures}",
        advice=("Profile {component}, and see who shares its node; raise its CPU limit or add replicas.",),
        features=(
            "metric_cpu",
            "alarm_metric_cpu",
        ),
        words="",
        weight=1.2,
    ),
    Signature(
        name="disk",
        issue="{component} is held up by its disk: {figures}",
        advice=("Free or enlarge the volume of {component}, and look for what writes or reads so much.",),
        features=(
            "metric_disk",
            "alarm_metric_disk",
        ),
        words="",
        weight=1.2,
    ),
    Signature(
        name="network",
        issue="The network at {component} is slow or loses packets: {figures}",
        advice=(
            (
                "Check node, proxy and policies on the roads to and from {component} (first {subject}): "
                "the servers' own time does not explain the calls'."
            ),
        ),
        features=(
            "edge_in",
            "edge_out",
            "alarm_metric_network_down",
        ),
        words="",
        weight=1.0,
    ),
    Signature(
        name="down",
        issue="{component} was killed or does not come up again: {figures}",
        advice=("Look at the last exit of {component}: its code, its limits, its probes, and what evicted it.",),
        features=("metric_", *_LOGS),
        words=r"restarts?(?![a-z])|crash.?loop|evict|liveness|not.ready|last.terminated",
    ),
    Signature(
        name="traffic_surge",
        issue="{component} gets far more traffic than usual: {figures}",
        advice=("Find the caller behind the traffic; limit it or add replicas of {component}.",),
        features=("metric_traffic",),
        words="",
        weight=0.5,
    ),
    Signature(
        name="exception",
        issue="{component} fails with errors of its own: {figures}",
        advice=(("Read the first of these errors in {component}, and what is logged around it in the same trace."),),
        features=(
            "log_error",
            "own_error",
            "alarm_error_self",
            "metric_error",
            "alarm_metric_error",
        ),
        words="",
        weight=1.0,
    ),
    Signature(
        name="failing",
        issue="{component} fails part of its calls: {figures}",
        advice=(
            (
                "Look at the failed calls of {component} by operation and by caller: what it calls does "
                "not account for them."
            ),
        ),
        features=(
            "own_excess",
            "own_symptom",
        ),
        words="err|fail|avail|success|reject|[45]xx",
        weight=1.0,
    ),
    Signature(
        name="error_return",
        issue="{component} leaves its usual path early: {figures}",
        advice=(
            ("Compare a trace of {component} before with one during: a step of its usual path is no longer reached."),
        ),
        features=("log_less",),
        words="",
        weight=0.9,
    ),
    Signature(
        name="slow",
        issue="{component} has become slow by itself, or in calls that send no spans: {figures}",
        advice=(
            (
                "Compare spans of {component} before and during: profile what it does between its calls, and time its "
                "calls of models, databases and others that send no spans of their own."
            ),
        ),
        features=(
            "self_time",
            "own_excess",
            "own_symptom",
            "metric_latency",
            "alarm_latency",
        ),
        words=r"time|laten|duration|p[59]\d|alarm|/",
        weight=0.9,
    ),
)

CHANGE: Final = Signature(
    "deploy",
    "{component} was changed by {change}: {figures}",
    ("Roll back {change}, or fix it forward: it went live before the first evidence.",),
    (),
)

UNKNOWN: Final = Signature(
    "unknown",
    "{component} behaves unlike before: {figures}",
    ("Look at the evidence of {component} in time order.",),
    (),
)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A signature with its texts filled in."""

    name: str
    issue: str
    recommendations: Sequence[str]


def diagnose(
    component: str, evidence: Sequence[Evidence], change: str = "", expected: str = "", dependency: str = ""
) -> Diagnosis:
    """The signature that the component's own evidence supports best; a named change comes before them all.

    `expected`: the name of the signature that is known otherwise to be likely, empty where none is.
    `dependency`: what it cannot reach, should that be it; empty where nobody knows.
    """
    own = sorted((each for each in evidence if each.component == component), key=lambda each: -each.strength)
    best, leading, most = UNKNOWN, own[:1], 0.0
    for signature in [each for each in SIGNATURES if expected in {"", each.name}]:
        fitting = [each for each in own if each.strength >= STRENGTH_MIN and _fits(signature, each)]
        support = max((each.strength for each in fitting), default=0.0) * signature.weight
        if support > most:
            best, leading, most = signature, fitting[:1], support
        elif expected:
            best = signature
    return _filled(CHANGE if change else best, component, leading, (change, dependency), best.advice)


def _fits(signature: Signature, evidence: Evidence) -> bool:
    if not evidence.feature.startswith(signature.features):
        return False
    return not signature.words or bool(re.search(signature.words, evidence.subject, re.IGNORECASE))


def _filled(
    signature: Signature,
    component: str,
    leading: Sequence[Evidence],
    others: tuple[str, str],
    advice: Sequence[str],
) -> Diagnosis:
    words = {
        "component": component,
        "subject": leading[0].subject if leading else "its callers",
        "figures": leading[0].description if leading else "no single figure stands out",
        "change": others[0],
        "dependency": others[1] or "something it depends on",
    }
    said = signature.advice if signature.advice == advice else (*signature.advice, *advice)
    return Diagnosis(
        signature.name, signature.issue.format(**words), tuple(dict.fromkeys(text.format(**words) for text in said))
    )
