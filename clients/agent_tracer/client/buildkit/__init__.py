"""Agent builds and CI steps as tasks: exit codes, tests and coverage, in the trace of the pipeline.

    from agent_tracer.client import buildkit

    with buildkit.job("release", agent_id="release-writer") as job:
        with job.stage("test") as stage:
            stage.run(["pytest", "--junitxml=report.xml", "--cov", "--cov-report=json"])
            stage.junit("report.xml")
            stage.coverage("coverage.json")

As a command it is `agent-tracer-ci run --agent release-writer --stage test --junit report.xml -- pytest ...`
(`python -m agent_tracer.client.buildkit`). Where spans go is told by AGENT_TRACER_URL, OTEL_EXPORTER_OTLP_* and
PHOENIX_COLLECTOR_ENDPOINT; a trace that TRACEPARENT names is continued. A build never fails because of this module:
what goes wrong here is a warning.
"""

from agent_tracer.client.buildkit.coverage import Coverage, read_coverage
from agent_tracer.client.buildkit.job import Job, Stage, job
from agent_tracer.client.buildkit.junit import Tests, read_junit

__all__ = ["Coverage", "Job", "Stage", "Tests", "job", "read_coverage", "read_junit"]
