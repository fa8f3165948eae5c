"""What CI systems say of the job that runs: OpenTelemetry's CI/CD and VCS conventions, and a trace for each pipeline.

Sources: OpenTelemetry semantic conventions (cicd.*, vcs.*); the default variables of GitHub Actions; the predefined
variables of GitLab CI/CD.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

Environment = Mapping[str, str]
Rule = str | tuple[str, ...] | Callable[[Environment], str]
"""A format of variables (nothing where one of them is not set), several of which the first that is whole is taken, or
a function of all."""

_FIELD: Final = re.compile(r"\{(\w+)\}")
_PULL_REQUEST: Final = re.compile(r"refs/pull/(\d+)/")


@dataclass(frozen=True, slots=True)
class System:
    """A CI system: the variable that gives it away, what names a run of a pipeline, and its attributes."""

    sign: str
    run: str
    attributes: Mapping[str, Rule]


SYSTEMS: Final = (
    System(
        sign="GITHUB_ACTIONS",
        run="{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/{GITHUB_RUN_ID}/{GITHUB_RUN_ATTEMPT}",
        attributes={
            "cicd.pipeline.name": "{GITHUB_WORKFLOW}",
            "cicd.pipeline.run.id": "{GITHUB_RUN_ID}",
            "cicd.pipeline.run.url.full": "{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/actions/runs/{GITHUB_RUN_ID}",
            "cicd.pipeline.task.name": "{GITHUB_JOB}",
            "cicd.worker.name": "{RUNNER_NAME}",
            "vcs.provider.name": lambda _: "github",
            "vcs.owner.name": "{GITHUB_REPOSITORY_OWNER}",
            "vcs.repository.name": lambda env: env.get("GITHUB_REPOSITORY", "").rpartition("/")[2],
            "vcs.repository.url.full": "{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}",
            "vcs.ref.head.name": ("{GITHUB_HEAD_REF}", "{GITHUB_REF_NAME}"),
            "vcs.ref.head.type": "{GITHUB_REF_TYPE}",
            "vcs.ref.head.revision": "{GITHUB_SHA}",
            "vcs.ref.base.name": "{GITHUB_BASE_REF}",
            "vcs.change.id": lambda env: _first(_PULL_REQUEST, env.get("GITHUB_REF", "")),
        },
    ),
    System(
        sign="GITLAB_CI",
        run="{CI_SERVER_URL}/{CI_PROJECT_PATH}/{CI_PIPELINE_ID}",
        attributes={
            "cicd.pipeline.name": ("{CI_PIPELINE_NAME}", "{CI_PROJECT_PATH}"),
            "cicd.pipeline.run.id": "{CI_PIPELINE_ID}",
            "cicd.pipeline.run.url.full": "{CI_PIPELINE_URL}",
            "cicd.pipeline.task.name": "{CI_JOB_NAME}",
            "cicd.pipeline.task.run.id": "{CI_JOB_ID}",
            "cicd.pipeline.task.run.url.full": "{CI_JOB_URL}",
            "cicd.worker.name": "{CI_RUNNER_DESCRIPTION}",
            "vcs.provider.name": lambda _: "gitlab",
            "vcs.owner.name": "{CI_PROJECT_NAMESPACE}",
            "vcs.repository.name": "{CI_PROJECT_NAME}",
            "vcs.repository.url.full": "{CI_PROJECT_URL}",
            "vcs.ref.head.name": ("{CI_MERGE_REQUEST_SOURCE_BRANCH_NAME}", "{CI_COMMIT_REF_NAME}"),
            "vcs.ref.head.type": lambda env: "tag" if env.get("CI_COMMIT_TAG") else "branch",
            "vcs.ref.head.revision": "{CI_COMMIT_SHA}",
            "vcs.ref.base.name": "{CI_MERGE_REQUEST_TARGET_BRANCH_NAME}",
            "vcs.change.id": "{CI_MERGE_REQUEST_IID}",
        },
    ),
)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The run of a pipeline that this process is part of."""

    run: str = ""
    """The same in every job of the run, and in no other run; empty outside of CI."""
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def trace_id(self) -> int | None:
        """One trace for all jobs of a run, wherever they run: the first 16 bytes of SHA-256 of the run."""
        if not self.run:
            return None
        return int.from_bytes(hashlib.sha256(f"agent-tracer-ci:{self.run}".encode()).digest()[:16]) or None


def pipeline(environment: Environment) -> Pipeline:
    """What the environment says."""
    for system in SYSTEMS:
        if environment.get(system.sign, "").lower() in ("true", "1"):
            made = {name: _value(rule, environment) for name, rule in system.attributes.items()}
            return Pipeline(_value(system.run, environment), {name: value for name, value in made.items() if value})
    return Pipeline()


def _value(rule: Rule, environment: Environment) -> str:
    if callable(rule):
        return rule(environment)
    return next(filter(None, (_filled(form, environment) for form in ((rule,) if isinstance(rule, str) else rule))), "")


def _filled(form: str, environment: Environment) -> str:
    values = {name: environment.get(name, "") for name in _FIELD.findall(form)}
    return form.format_map(values) if all(values.values()) else ""


def _first(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.match(text)
    return match[1] if match else ""
