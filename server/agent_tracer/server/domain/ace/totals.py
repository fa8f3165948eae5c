"""Buckets put together."""

from collections.abc import Iterable, Mapping, Sequence

from agent_tracer.server.domain.task_sums import Moments, QualitySums, TaskSums


def added(first: TaskSums, second: TaskSums) -> TaskSums:
    """Both buckets as one, with the first one's type and variant and the earlier start."""
    return TaskSums(
        task_type=first.task_type,
        start_ns=min(first.start_ns, second.start_ns),
        tasks=first.tasks + second.tasks,
        successes=first.successes + second.successes,
        timeouts=first.timeouts + second.timeouts,
        retried=first.retried + second.retried,
        durations_ms=first.durations_ms + second.durations_ms,
        log_durations=first.log_durations + second.log_durations,
        success_log_durations=first.success_log_durations + second.success_log_durations,
        costs=first.costs + second.costs,
        success_log_costs=first.success_log_costs + second.success_log_costs,
        variant=first.variant,
    )


def by_type(sums: Iterable[TaskSums]) -> dict[str, TaskSums]:
    """One bucket a task type that has any task, in the order of the types' names."""
    totals: dict[str, TaskSums] = {}
    for bucket in sums:
        if bucket.tasks:
            held = totals.get(bucket.task_type)
            totals[bucket.task_type] = bucket if held is None else added(held, bucket)
    return dict(sorted(totals.items()))


def count(sums: Iterable[TaskSums]) -> int:
    """Tasks in all."""
    return sum(bucket.tasks for bucket in sums)


def judgements_by_name(quality: Sequence[QualitySums]) -> dict[str, dict[str, Moments]]:
    """The moments of each name's judgements by task type; names and types in order, none without a judgement."""
    totals: dict[str, dict[str, Moments]] = {}
    for item in quality:
        if item.scores.count:
            types = totals.setdefault(item.name, {})
            types[item.task_type] = types.get(item.task_type, Moments()) + item.scores
    return {name: dict(sorted(types.items())) for name, types in sorted(totals.items())}


def pooled(moments: Iterable[Moments]) -> Moments:
    """All as one."""
    return sum(moments, Moments())


def within(groups: Mapping[str, Moments]) -> tuple[float, int]:
    """The variance within groups, pooled over them, and its degrees of freedom; 0.0, 0 where no group has two."""
    degrees = sum(max(0, group.count - 1) for group in groups.values())
    squares = sum(group.variance * (group.count - 1) for group in groups.values() if group.count)
    return (squares / degrees if degrees else 0.0), degrees
