"""What goes wrong, as callers are told it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from google.rpc import code_pb2

from agent_tracer.server.adapters.envoy.plan import Bounds
from agent_tracer.server.adapters.envoy.replies import replies
from agent_tracer.server.api import errors as api_errors
from agent_tracer.server.domain.otlp_rules import EXPLANATIONS
from scripts.pages.markdown import code, page, table

_PROTO: Final = Path(__file__).resolve().parents[2] / "proto/agent_tracer/v1/error_reason.proto"

_HTTP_STATUS: Final = {
    "CANCELLED": 499, "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400, "DEADLINE_EXCEEDED": 504, "NOT_FOUND": 404, "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403, "RESOURCE_EXHAUSTED": 429, "UNIMPLEMENTED": 501, "INTERNAL": 500, "UNAVAILABLE": 503,
    "UNAUTHENTICATED": 401,
}  # fmt: skip
"""From the comments of google/rpc/code.proto, which Envoy follows."""

_CODE: Final = re.compile(rf"\s*\b({'|'.join(_HTTP_STATUS)})\b(, \w[\w ]*)?\.")


class Reason(NamedTuple):
    """A value of the enum, without its prefix."""

    name: str
    comment: str


def error_reasons() -> Iterator[Reason]:
    """The enum's values, each with its comment in the proto or that of the value above it."""
    comment: list[str] = []
    fresh = False
    for line in _PROTO.read_text().splitlines():
        text = line.strip()
        if text.startswith("//"):
            comment = comment if fresh else []
            comment, fresh = [*comment, text.removeprefix("//").strip()], True
        elif match := re.match(r"ERROR_REASON_(\w+) = ([1-9]\d*);", text):
            yield Reason(match[1], " ".join(comment))
            fresh = False
        else:
            comment, fresh = [], False


def errors() -> str:
    """Reasons, codes and texts, from the error table of the API and the one of Envoy."""
    sent: dict[str, set[str]] = {}
    for answer in vars(api_errors)["_ANSWERS"].values():
        sent.setdefault(api_errors.reason_name(answer.reason), set()).add(code_pb2.Code.Name(answer.code))
    sent["INTERNAL"] = {"INTERNAL"}
    rows = [(code(reason.name), *_told(reason, sent.get(reason.name, set()))) for reason in error_reasons()]
    envoy = [
        (
            reply.status or reply.was,
            code(reply.reason if reply.reason != "UNSPECIFIED" else ""),
            reply.message.replace("%LOCAL_REPLY_BODY%", "..."),
            f"{reply.retry_seconds:g} s" if reply.retry_seconds else "",
        )
        for reply in replies(Bounds())
    ]
    return page(
        "Errors",
        "proto/agent_tracer/v1/error_reason.proto, server/agent_tracer/server/api/errors.py and "
        "server/agent_tracer/server/adapters/envoy/replies.py",
        "Every error is a `google.rpc.Status`, over gRPC in the trailers and over REST as the JSON body. Its details "
        "hold an `ErrorInfo` (domain `agent-tracer`, a reason of the table), for `INVALID_FIELD` a `BadRequest` that "
        "names each wrong field, and a `RetryInfo` where trying again later helps. No text of a driver, no path and "
        "no stack is in it: what the server did not foresee is `INTERNAL` with an `error_id`, under which its log has "
        "the rest.",
        "OTLP follows its own specification: items that cannot be kept are counted in the answer's partial success "
        "with the reasons, while the rest of the request is kept; over HTTP `RESOURCE_EXHAUSTED` without `RetryInfo` "
        "is 413, and `RetryInfo` is a `Retry-After` header too.",
        table(("reason", "gRPC", "HTTP", "meaning", "sent today"), rows),
        "## Why an item of OTLP is not kept",
        "The reason is the label of `agent_tracer_rejected_total`; the text is in the partial success.",
        table(("reason", "text"), [(code(reason), text) for reason, text in EXPLANATIONS.items()]),
        "## What Envoy answers itself",
        "REST callers get these in the same form, for requests that never reach the server.",
        table(("HTTP", "reason", "text", "try again after"), envoy),
    )


def _told(reason: Reason, sent_as: set[str]) -> tuple[str, str, str, str]:
    """Codes of gRPC, HTTP statuses, meaning (the comment without the codes in it), whether any code sends it."""
    in_comment = set(_HTTP_STATUS) & set(re.findall(r"[A-Z_]{5,}", reason.comment))
    codes = sorted(sent_as or in_comment)
    meaning = _CODE.sub("", reason.comment).strip() or reason.name.replace("_", " ").capitalize() + "."
    statuses = ", ".join(str(_HTTP_STATUS[name]) for name in codes)
    return ", ".join(map(code, codes)), statuses, meaning, "yes" if sent_as else ""
