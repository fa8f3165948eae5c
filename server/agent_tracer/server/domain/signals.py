"""The kinds of telemetry that travel through the journal."""

from enum import IntEnum


class Signal(IntEnum):
    """What a journal record's bytes are: an OTLP export request of this signal. Values are on disk: never renumber."""

    TRACES = 1
    LOGS = 2
    METRICS = 3
