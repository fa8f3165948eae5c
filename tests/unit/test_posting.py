"""One POST: whole answers of success come back, everything else is a PostError that tells no secret."""

import base64
import traceback

import pytest

from agent_tracer.client._shared.posting import PostError, post
from agent_tracer.client._shared.shown import without_secrets, wrong_address
from tests.fixtures.ports import free_ports
from tests.fixtures.raw_http import BROKEN, answer, raw_http, redirect

SECONDS = 30.0
SECRET = "hush"  # noqa: S105 - what nothing may tell


def refused(url: str, headers: dict[str, str] | None = None, bytes_max: int = 100) -> PostError:
    with pytest.raises(PostError) as caught:
        post(url, b"{}", headers or {}, seconds=SECONDS, bytes_max=bytes_max)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    return caught.value


def test_a_whole_answer_comes_back() -> None:
    with raw_http(answer(b"x" * 100)) as server:
        got = post(server.url, b"{}", {"x-one": "1"}, seconds=SECONDS, bytes_max=100)
    assert (got.status, got.body) == (200, b"x" * 100)
    assert "x-one: 1" in server.heads[0].lower()


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_answer_is_none(broken: bytes) -> None:
    with raw_http(broken) as server:
        error = refused(server.url)
    assert (str(error), error.status) == ("no whole answer", 0)


def test_an_answer_that_is_too_long_is_none_rather_than_half_a_one() -> None:
    with raw_http(answer(b"x" * 101)) as server:
        assert "more than 100 bytes" in str(refused(server.url))
        assert post(server.url, b"{}", {}, seconds=SECONDS).body == b"", "nobody asked for it"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_told_and_takes_nothing_along(status: int) -> None:
    with raw_http() as elsewhere:
        to = f"http://me:{SECRET}@127.0.0.1:{elsewhere.port}/login?token={SECRET}"
        with raw_http(redirect(to, status)) as server:
            error = refused(server.url, {"Authorization": f"Bearer {SECRET}"})
    assert error.status == status
    assert f"redirect to http://***@127.0.0.1:{elsewhere.port}/login?***" in str(error)
    assert elsewhere.heads == []


@pytest.mark.parametrize("to", ["/login", "http://[", "x" * 5000, "\x1b[31m"])
def test_a_redirect_is_shown_whole_short_and_plain(to: str) -> None:
    with raw_http(redirect(to)) as server:
        text = str(refused(server.url))
    assert text.isprintable()
    assert len(text) < 400
    if to == "/login":
        assert f"redirect to {server.url}/login" in text


@pytest.mark.parametrize(
    ("url", "headers", "why"),
    [
        (f"http://me:{SECRET}@127.0.0.1:{free_ports(1)[0]}", {}, "not reached"),
        ("file:///etc/passwd", {}, "not reached"),
        ("ftp://127.0.0.1:1/x", {}, "not reached"),
        ("http://[", {}, "cannot carry"),
        ("no address", {}, "cannot carry"),
        ("http://127.0.0.1:1/a b\n", {}, "not reached|is none"),
        ("http://127.0.0.1:1", {"x": f"{SECRET}\n"}, "cannot carry"),
        ("http://127.0.0.1:1", {"x": f"{SECRET}→"}, "cannot carry"),
    ],
)
def test_what_cannot_be_sent_is_told_in_the_same_way(url: str, headers: dict[str, str], why: str) -> None:
    with pytest.raises(PostError, match=why):
        raise refused(url, headers)


@pytest.mark.parametrize(
    ("user", "said"),
    [("me:hush", "me:hush"), ("me:p%40s:s", "me:p@s:s"), ("me", "me:"), ("m%C3%A9:", "mé:")],
)
def test_the_user_of_an_address_goes_as_basic_authentication(user: str, said: str) -> None:
    with raw_http() as server:
        post(f"http://{user}@127.0.0.1:{server.port}/x", b"", {"Authorization": "Bearer k"}, seconds=SECONDS)
    lines = server.heads[0].splitlines()
    (sent,) = [line for line in lines if line.lower().startswith("authorization:")]
    assert base64.b64decode(sent.rpartition(" ")[2]).decode() == said
    assert f"Host: 127.0.0.1:{server.port}" in lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:hush@h:1/a?api-key=hush&x=hush#f", "http://***@h:1/a?***"),
        ("me:hu@sh@h:4317", "***@h:4317"),
        ("lost: http://h?key=hush and grpc://me:hush@h", "lost: http://h?*** and grpc://***@h"),
        ("http://me:hu sh@h:1#hush", "http://***@h:1#***"),
        ("with url: /v1/traces?hush (caused by", "with url: /v1/traces?*** (caused by"),
        ("http://h:4318/a@b", "http://h:4318/a@b"),
    ],
)
def test_secrets_of_addresses_are_masked_as_the_server_masks_them(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


@pytest.mark.parametrize("password", ["hush", "h/ush", "h?u#sh", "hu@sh", "hu sh", "hu\nsh"])
@pytest.mark.parametrize("scheme", ["", "http://", "http:"])
def test_what_is_no_address_shows_no_password_whatever_that_holds(scheme: str, password: str) -> None:
    assert wrong_address(f"{scheme}me:{password}@h:x?key") in ("http://***@h:x?***", "***@h:x?***")
