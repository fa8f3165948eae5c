"""`traces import` and `traces export`: telemetry files in and out."""

# Imports wait until a command needs them: `--help` must be quick.
# ruff: noqa: PLC0415

import io
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final, cast

import typer

from agent_tracer.server.cli import options
from agent_tracer.server.cli.connection import open_channel, server_address, trace_service
from agent_tracer.server.cli.console import console, show
from agent_tracer.server.cli.errors import CommandError, WrongUsageError
from agent_tracer.server.cli.text import counted, duration, plain

if TYPE_CHECKING:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from rich.progress import Progress

    from agent_tracer.server.cli.sending import Sender, Tally
    from agent_tracer.v1 import trace_pb2

STANDARD_STREAM: Final = Path("-")
REASONS_TOLD_MAX: Final = 10
TIME_REFUSED: Final = "before the year 2000"
"""What the server's explanations of refused times have in common."""


class FileFormat(StrEnum):
    """What `traces export` writes."""

    JSON = "json"
    PROTOBUF = "protobuf"


def import_files(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            # Whether they exist is looked at below: typer knows no dash among paths.
            dir_okay=False,
            readable=True,
            help="OTLP JSON, OTLP protobuf or Jaeger JSON, plain or gzip; - is standard input.",
        ),
    ],
    shift_to: Annotated[
        str | None,
        typer.Option(
            "--shift-to",
            metavar="now|TIME",
            help="Move all times of each file so that its latest becomes this one (RFC 3339).",
            show_default=False,
        ),
    ] = None,
    endpoint: options.Endpoint = None,
) -> None:
    """Send telemetry files to the server. The same file again adds nothing twice."""
    from agent_tracer.server.cli.sending import Sender

    began = time.monotonic()
    if missing := [path for path in files if path != STANDARD_STREAM and not path.exists()]:
        raise WrongUsageError(f"{missing[0]} does not exist")
    target_ns = _moment(shift_to) if shift_to else None
    if target_ns is not None and STANDARD_STREAM in files:
        hint = "save it to a file first: its times are looked at before any is sent"
        raise WrongUsageError("--shift-to cannot take standard input", [hint])
    damaged: list[str] = []
    with open_channel(endpoint) as channel:
        sender = Sender(channel, server_address(endpoint))
        try:
            with _progress() as progress:
                for number, path in enumerate(files, start=1):
                    label = f"{number}/{len(files)} {plain(path.name)}"
                    _import_file(sender, path, label, progress, damaged, target_ns=target_ns)
        finally:
            _tell_import(sender.tally, len(files), time.monotonic() - began)
    if damaged:
        raise CommandError(damaged[0], damaged[1:])
    if sender.tally.rejected:
        raise typer.Exit(1)


def _moment(text: str) -> int:
    """Nanoseconds since 1970 of `now` or an RFC 3339 time. Raises WrongUsageError."""
    from google.protobuf.timestamp_pb2 import Timestamp

    if text == "now":
        return time.time_ns()
    moment = Timestamp()
    try:
        moment.FromJsonString(text)
    except ValueError:
        message = f"--shift-to {text!r} is neither now nor an RFC 3339 time"
        raise WrongUsageError(message, ["such as --shift-to 2026-05-01T12:00:00Z"]) from None
    return moment.ToNanoseconds()


def _import_file(  # noqa: PLR0913 - one step of a loop, cut off for its length
    sender: "Sender",
    path: Path,
    label: str,
    progress: "Progress",
    damaged: list[str],
    *,
    target_ns: int | None,
) -> None:
    from agent_tracer.server.cli.formats import FormatError, ShiftError, read_requests, shifted

    try:
        shift_ns = _shift_ns(path, f"{label} (times)", progress, target_ns) if target_ns is not None else 0
        with _tracked(path, label, progress) as (reader, advance):
            requests = read_requests(reader)
            for taken in sender.send(shifted(requests, shift_ns) if shift_ns else requests):
                advance(taken)
    except FormatError as error:
        damaged.append(str(error))
    except ShiftError as error:
        damaged.append(f"{path}: {error}")
    except OSError as error:
        damaged.append(f"{path}: cannot be read ({error.strerror})")


def _shift_ns(path: Path, label: str, progress: "Progress", target_ns: int) -> int:
    """How far the file's times are to be moved: a pass over all of it, before the one that sends."""
    from agent_tracer.server.cli.formats import FormatError, latest_ns, read_requests

    latest = 0
    with _tracked(path, label, progress) as (reader, advance):
        try:
            for request in read_requests(reader):
                latest = max(latest, latest_ns([request]) or 0)
                advance(0)
        except FormatError:
            pass  # What comes before the damage is sent, and the damage told then.
    return target_ns - latest if latest else 0


@contextmanager
def _tracked(path: Path, label: str, progress: "Progress") -> "Iterator[tuple[BinaryIO, Callable[[int], None]]]":
    """The opened file, and what to call with the number of items of each request that is done with."""
    with nullcontext(sys.stdin.buffer) if path == STANDARD_STREAM else path.open("rb") as raw:
        size = None if path == STANDARD_STREAM else path.stat().st_size
        task = progress.add_task(label, total=size, items=0)
        reader = _Counted(raw)
        items = 0

        def advance(taken: int) -> None:
            nonlocal items
            items += taken
            progress.update(task, completed=reader.position if size else 0, items=items)

        yield cast("BinaryIO", reader), advance


class _Counted(io.RawIOBase):
    """A stream that knows how far it was read. Closing it leaves the source open."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.name = source.name
        self.position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401 - any writable buffer
        read = self._source.read(len(buffer))
        buffer[: len(read)] = read
        self.position += len(read)
        return len(read)


def _progress() -> "Progress":
    """Bars on a terminal, nothing elsewhere."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    out = console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[items]:,} items"),
        TimeRemainingColumn(),
        console=out,
        transient=True,
        disable=not out.is_terminal,
    )


def _tell_import(tally: "Tally", files: int, seconds: float) -> None:
    taken = ", ".join(counted(number, noun) for noun, number in tally.accepted.items() if number)
    retries = f", after {counted(tally.retries, 'retry').replace('retrys', 'retries')}" if tally.retries else ""
    show(
        f"Accepted {taken or 'nothing'} of {counted(files, 'file')} in {duration(seconds * 1000)}{retries}.",
        stderr=True,
    )
    for (noun, reason), number in tally.rejected.most_common(REASONS_TOLD_MAX):
        show(f"Rejected {counted(number, noun)}: {plain(reason)}", "red", stderr=True)
    if len(tally.rejected) > REASONS_TOLD_MAX:
        show(f"and for {len(tally.rejected) - REASONS_TOLD_MAX} other reasons", "red", stderr=True)
    if any(TIME_REFUSED in reason for _, reason in tally.rejected):
        show("Data of another time comes in with --shift-to now, which moves a file's times as one.", stderr=True)


def export(
    output: Annotated[Path, typer.Option("--output", "-o", help="A file; - is standard output.")] = STANDARD_STREAM,
    file_format: Annotated[FileFormat, typer.Option("--format", help="OTLP, either way.")] = FileFormat.JSON,
    trace_id: Annotated[
        list[str] | None, typer.Option("--trace-id", help="May be repeated.", show_default=False)
    ] = None,
    period: Annotated[str, typer.Option("--period", help="Back from now: 15m, 24h, 30d, 4w.", show_default="24h")] = "",
    endpoint: options.Endpoint = None,
) -> None:
    """Write stored traces as OTLP; `traces import` takes the file back."""
    from agent_tracer.v1 import trace_pb2

    if trace_id and period:
        raise WrongUsageError("--trace-id and --period exclude each other")
    if output == STANDARD_STREAM and file_format is FileFormat.PROTOBUF and sys.stdout.isatty():
        raise WrongUsageError("protobuf is not for terminals", ["write it to a file: --output FILE"])
    request = trace_pb2.ExportTracesRequest(trace_ids=trace_id or [], period=period)
    with trace_service(endpoint) as traces, _progress() as progress:
        task = progress.add_task("export", total=None, items=0)
        written = 0
        # Opened once the server has answered: a refusal leaves no file behind.
        answers = traces.ExportTraces(request)
        first = next(answers, None)
        with _opened(output) as out:
            for spans in _write(out, file_format, _requests(first, answers)):
                written += spans
                progress.update(task, items=written)
    where = "" if output == STANDARD_STREAM else f" to {plain(str(output))}"
    show(f"Exported {counted(written, 'span')}{where}.", stderr=True)


def _requests(
    first: "trace_pb2.ExportTracesResponse | None", rest: "Iterator[trace_pb2.ExportTracesResponse]"
) -> "Iterator[ExportTraceServiceRequest]":
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    if first is not None:
        yield ExportTraceServiceRequest.FromString(first.otlp)
    for answer in rest:
        yield ExportTraceServiceRequest.FromString(answer.otlp)


def _write(out: BinaryIO, file_format: FileFormat, requests: "Iterable[ExportTraceServiceRequest]") -> Iterator[int]:
    """Write each request; yields its number of spans."""
    from agent_tracer.server.cli.formats import write_otlp_json, write_otlp_protobuf

    writer = write_otlp_json if file_format is FileFormat.JSON else write_otlp_protobuf
    for request in requests:
        writer(out, [request])
        yield sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)


@contextmanager
def _opened(output: Path) -> Iterator[BinaryIO]:
    """The output; a file appears under its name only when it is whole. Raises CommandError."""
    if output == STANDARD_STREAM:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    unfinished = output.with_name(f"{output.name}.unfinished-{os.getpid()}")
    try:
        with unfinished.open("wb") as out:
            yield out
        unfinished.replace(output)
    except OSError as error:
        message = f"{output} cannot be written ({error.strerror})"
        raise CommandError(message) from None
    finally:
        unfinished.unlink(missing_ok=True)
