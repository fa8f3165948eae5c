"""Which log records tell of changes: the one condition for those that read them and those that leave them out."""

from typing import Final

from agent_tracer.server.adapters.clickhouse.sql import array, quoted
from agent_tracer.server.adapters.clickhouse.values import AttributeType

_NAMES: Final = (
    r"(?i)(^|[._-])(vcs|git|commit|pushe?d?|deploy|deployment|deployed|rollout|rollback|release|released|"
    r"feature_?flags?|flag|flags|config|configuration|setting|settings|change|changes)([._-]|$)"
)
_KEYS: Final = (
    "vcs.ref.head.revision", "vcs.ref.revision", "vcs.repository.ref.revision", "vcs.change.id", "vcs.change.title",
    "vcs.repository.change.id", "commit.sha", "commit_sha", "git.commit.sha", "deployment.id", "deployment.status",
    "deploy.id", "feature_flag.key", "flag.key", "config.key",
)  # fmt: skip
_WORDS: Final = ("commit_sha", "files_changed", "feature_flag", "deployment_id")
"""Field names in a body that is a map, of which the record's name and attributes say nothing."""

EVENT_NAME: Final = "if(event_name != '', toString(event_name), attributes['event.name'])"
IS_EVALUATION: Final = f"match({EVENT_NAME}, '(?i)feature_?flag([._-]?evaluation)?$')"
"""Told each time that a flag is looked at, whether or not it changed."""

_IS_MAP: Final = f"(body_type = {int(AttributeType.MAP)} OR startsWith(body, '{{'))"
# Cheap conditions first: nearly every record has no name, and none of the attributes.
IS_CHANGE: Final = (
    f"(match(event_name, {quoted(_NAMES)}) OR (hasAny(mapKeys(attributes), {array(map(quoted, (*_KEYS, 'event.name')))}) "
    f"AND (match({EVENT_NAME}, {quoted(_NAMES)}) OR hasAny(mapKeys(attributes), {array(map(quoted, _KEYS))}))) "
    f"OR ({_IS_MAP} AND {EVENT_NAME} = '' AND multiSearchAny(body, {array(map(quoted, _WORDS))})))"
)
