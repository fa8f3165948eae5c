"""Events that tell of changes (commits, deploys, flags, settings) as changes.

Names are those of OpenTelemetry's conventions (vcs, deployment, cicd, feature_flag), with what else is in use: systems
that send such events mostly have names of their own. https://opentelemetry.io/docs/specs/semconv/registry/attributes/vcs
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agent_tracer.server.domain.rca.view import Change
from agent_tracer.server.domain.telemetry import Attributes, AttributeValue

COMMIT, DEPLOY, FLAG, CONFIG = "commit", "deploy", "flag", "config"

_REVISION: Final = (
    "vcs.ref.head.revision", "vcs.ref.revision", "vcs.repository.ref.revision", "vcs.revision", "commit.sha",
    "commit_sha", "git.commit.sha", "git_commit_sha", "git.commit.id", "git.sha", "git_sha", "commit.id", "commit_id",
    "commit.hash", "commit_hash", "commit", "sha", "revision", "deployment.revision",
)  # fmt: skip
_CHANGE: Final = (
    "vcs.change.id", "vcs.repository.change.id", "change.id", "change_id", "pull_request.id", "pull_request",
)  # fmt: skip
_DEPLOYMENT: Final = (
    "deployment.id", "deploy.id", "deployment_id", "deploy_id", "rollout.id", "release.id", "deployment.name",
    "cicd.pipeline.run.id", "cicd.pipeline.task.run.id",
)  # fmt: skip
_FLAG: Final = (
    "feature_flag.key", "feature_flag.name", "flag.key", "flag.name", "flag_key", "flag_name", "feature_flag", "flag",
)  # fmt: skip
_SETTING: Final = (
    "config.key", "config.name", "setting.key", "setting.name", "config_key", "setting", "config", "key", "name",
)  # fmt: skip
_TEXT: Final = (
    "vcs.change.title", "vcs.repository.change.title", "commit.message", "commit_message", "commit.title", "message",
    "title", "subject", "msg", "summary", "vcs.change.description", "description",
)  # fmt: skip
_VERSION: Final = (
    "deployment.version", "service.version", "version", "feature_flag.version", "release", "tag", "vcs.ref.head.name",
    "container.image.tag", "image.tag", "image",
)  # fmt: skip
_SERVICE: Final = (
    "service.name", "deployment.service", "service", "services", "component", "components", "app", "application",
    "k8s.deployment.name",
)  # fmt: skip
_TOLD: Final = ("change", "transition", "feature_flag.change", "flag.change", "config.change")
_OLD: Final = (
    "old", "old_value", "previous", "previous_value", "from", "before", "feature_flag.previous.variant",
    "feature_flag.previous_variant", "feature_flag.previous_value", "config.old_value",
)  # fmt: skip
_NEW: Final = (
    "feature_flag.result.variant", "feature_flag.variant", "feature_flag.result.value", "variant", "new", "new_value",
    "value", "to", "after", "enabled", "config.value", "config.new_value", "state",
)  # fmt: skip
_DIFF: Final = re.compile(r"(^|[._])(diff|patch)$", re.IGNORECASE)
_FILES: Final = re.compile(r"(^|[._])(changed_)?(files|paths)(_changed|[._]changed|[._]modified)?$", re.IGNORECASE)
_KINDS: Final = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        (FLAG, r"flag|toggle|experiment"),
        (DEPLOY, r"deploy|rollout|rollback|release|scal(e|ing)"),
        (CONFIG, r"config|setting|parameter|secret|migration"),
        (COMMIT, r"commit|push|merge|pull_request|vcs|change"),
    )
)
"""What an event's name says that it tells of; the first that fits."""

_DIFF_START: Final = re.compile(r"^(diff --git |--- \S|@@ )", re.MULTILINE)
_DIFF_FILE: Final = re.compile(r"^\+\+\+ (?:b/)?([^\s]+)", re.MULTILINE)
_HEX: Final = re.compile(r"[0-9a-f]{7,64}")
SHORT_REVISION_MIN: Final = 7
"""What git shows of a revision at the least."""


@dataclass(frozen=True, slots=True)
class ChangeEvent:
    """A log record that tells of a change. `service`: of its resource; `body`: text or map."""

    time_ns: int
    service: str
    name: str
    attributes: Attributes
    body: AttributeValue = None


@dataclass(frozen=True, slots=True)
class _Told:
    """An event, read. `revision` empty: it names none."""

    revision: str
    change: Change


def read_changes(events: Iterable[ChangeEvent]) -> list[Change]:
    """The changes that the events tell of, by time. A commit and its deploys are one, live since the first deploy."""
    told = [_read(event) for event in events]
    full = _full_revisions({each.revision for each in told if each.revision})
    by_revision: dict[str, list[Change]] = defaultdict(list)
    found: list[Change] = []
    for each in told:
        if each.revision:
            by_revision[full[each.revision]].append(each.change)
        else:
            found.append(each.change)
    found = [*_once(found), *(_united(revision, changes) for revision, changes in by_revision.items())]
    return sorted(found, key=lambda change: (change.time_ns, change.change_id))


def _full_revisions(revisions: Iterable[str]) -> dict[str, str]:
    """Abbreviated revisions by the one that they are the beginning of."""
    ordered = sorted(revisions)
    full = {}
    for at, revision in enumerate(ordered):
        longer = [r for r in ordered[at + 1 : at + 3] if r.startswith(revision)]
        is_short = len(longer) == 1 and len(revision) >= SHORT_REVISION_MIN and _HEX.fullmatch(revision.lower())
        full[revision] = longer[0] if is_short else revision
    return full


def _once(changes: Iterable[Change]) -> Iterator[Change]:
    """Deploys of one id are one, live since the first; flags and settings change many times."""
    deploys: dict[str, list[Change]] = defaultdict(list)
    for change in changes:
        if change.kind == DEPLOY:
            deploys[change.change_id].append(change)
        else:
            yield change
    yield from (_united(change_id, each) for change_id, each in deploys.items())


def _united(change_id: str, changes: Sequence[Change]) -> Change:
    """One change out of what several events tell of it."""
    ordered = sorted(changes, key=lambda change: (change.time_ns, change.kind))
    deploys = [change for change in ordered if change.kind == DEPLOY]
    commits = [change for change in ordered if change.kind != DEPLOY]
    of_time = deploys or ordered
    written = [*commits, *deploys]
    return Change(
        change_id,
        of_time[0].kind,
        of_time[0].time_ns,
        sorted({component for change in of_time for component in change.components}),
        next((change.text for change in written if change.text), ""),
        next((change.diff for change in written if change.diff), ""),
        next((change.files for change in written if change.files), ()),
    )


def _read(event: ChangeEvent) -> _Told:
    fields = _fields(event)
    kind = _kind(event.name, fields)
    revision = _first(fields, _REVISION) if kind in (COMMIT, DEPLOY) else ""
    body = event.body if isinstance(event.body, str) else ""
    message, diff = _split(body)
    diff = _by_name(fields, _DIFF) or diff
    if not diff:
        message, diff = _split(_first(fields, _TEXT) or message)
    else:
        message = _first(fields, _TEXT) or message
    services = _texts(next((fields[name] for name in _SERVICE if fields.get(name)), ()))
    if not services and kind != COMMIT and event.service:
        services = [event.service]
    change = Change(
        _change_id(kind, event, fields, services),
        kind,
        event.time_ns,
        sorted(set(services)),
        _WORDING[kind](fields, message, services),
        diff,
        _files(fields) or _DIFF_FILE.findall(diff),
    )
    return _Told(revision, replace(change, change_id=revision) if revision else change)


def _kind(name: str, fields: Mapping[str, AttributeValue]) -> str:
    if name:
        for kind, pattern in _KINDS:
            if pattern.search(name):
                return kind
    if _first(fields, _FLAG):
        return FLAG
    if any(field.startswith(("deploy", "rollout", "release", "cicd.")) for field in fields):
        return DEPLOY
    if not _first(fields, _REVISION) and not _first(fields, _CHANGE):
        return CONFIG
    live = _first(fields, _SERVICE) and not _by_name(fields, _DIFF) and not _first(fields, _TEXT)
    return DEPLOY if live else COMMIT


_IDS: Final[Mapping[str, Sequence[str]]] = {
    COMMIT: (*_REVISION, *_CHANGE, *_DEPLOYMENT),
    DEPLOY: (*_REVISION, *_CHANGE, *_DEPLOYMENT, *_VERSION),
    FLAG: _FLAG,
    CONFIG: (*_SETTING[:-2], *_REVISION, *_CHANGE, *_SETTING[-2:]),
}


def _change_id(kind: str, event: ChangeEvent, fields: Mapping[str, AttributeValue], services: Sequence[str]) -> str:
    named = _first(fields, (*_IDS[kind], "event.id", "log.record.uid", "id"))
    return named or f"{event.name or kind}-{'-'.join(services) or 'unknown'}-{event.time_ns}"


def _commit_text(fields: Mapping[str, AttributeValue], message: str, services: Sequence[str]) -> str:  # noqa: ARG001
    return message


def _deploy_text(fields: Mapping[str, AttributeValue], message: str, services: Sequence[str]) -> str:
    version = _first(fields, _VERSION)
    return message or f"deploy of {', '.join(services) or 'a service'} {version}".rstrip()


def _setting_text(fields: Mapping[str, AttributeValue], message: str, services: Sequence[str]) -> str:  # noqa: ARG001
    name = _first(fields, _FLAG) or _first(fields, _SETTING)
    change = _first(fields, _TOLD)
    old, new = _first(fields, _OLD), _first(fields, _NEW)
    change = change or (f"{old} -> {new}" if old else f"-> {new}" if new else "")
    return " ".join(part for part in (f"{name}:" if name else "", change, message) if part)


_WORDING: Final = {COMMIT: _commit_text, DEPLOY: _deploy_text, FLAG: _setting_text, CONFIG: _setting_text}


def _fields(event: ChangeEvent) -> dict[str, AttributeValue]:
    """Fields of a body that is a map, nested ones by dotted names, under the attributes; names in lower case."""
    fields = dict(_flat("", event.body)) if isinstance(event.body, Mapping) else {}
    fields.update((name.lower(), value) for name, value in event.attributes.items())
    return {name: value for name, value in fields.items() if value is not None and value != ""}


def _flat(prefix: str, value: AttributeValue) -> Iterator[tuple[str, AttributeValue]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key.lower()}" if prefix else key.lower(), inner)
    else:
        yield prefix, value


def _first(fields: Mapping[str, AttributeValue], names: Sequence[str]) -> str:
    """The first of the names that has a plain value, as text."""
    for name in names:
        value = fields.get(name)
        if isinstance(value, str | int | float):
            return str(value).lower() if isinstance(value, bool) else str(value).strip()
    return ""


def _by_name(fields: Mapping[str, AttributeValue], pattern: re.Pattern[str]) -> str:
    found = (value for name, value in sorted(fields.items()) if pattern.search(name))
    return next((value for value in found if isinstance(value, str)), "")


def _files(fields: Mapping[str, AttributeValue]) -> list[str]:
    found = (value for name, value in sorted(fields.items()) if _FILES.search(name))
    return next((files for value in found if (files := _texts(value))), [])


def _texts(value: AttributeValue) -> list[str]:
    """A list of texts, or one text with one of them a line or after each comma."""
    if isinstance(value, str):
        return [part for part in re.split(r"[\s,;]+", value) if part]
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [part for part in value if isinstance(part, str) and part]
    return []


def _split(text: str) -> tuple[str, str]:
    """What stands before a unified diff, and the diff."""
    match = _DIFF_START.search(text)
    return (text[: match.start()].strip(), text[match.start() :]) if match else (text.strip(), "")
